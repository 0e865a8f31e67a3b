"""One source for a lesson, three forms: a plain script, the narrated terminal, a notebook."""
