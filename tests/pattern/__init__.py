"""
A host application whose triggers are those of the pattern that Themis promises.

The modules that say so hold its code blocks letter by letter; what the blocks leave
out, such as imports, stands above them. tests/demo/test_trigger_pattern.py runs them.
"""
