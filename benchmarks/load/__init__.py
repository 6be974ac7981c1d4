"""The load: a process that holds many connections and counts what comes."""
