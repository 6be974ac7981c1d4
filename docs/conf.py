"""The site of the documentation: `make docs` writes it to build/docs."""

project = "Themis"
author = "Themis contributors"
project_copyright = author

extensions = ["myst_parser"]
# Links to headings, by the anchors that GitHub gives them too.
myst_heading_anchors = 4
# Every link is checked: the build is run with -W, which makes a warning an error.
nitpicky = True

html_theme = "furo"
html_title = "Themis"
html_copy_source = False
html_show_sphinx = False
