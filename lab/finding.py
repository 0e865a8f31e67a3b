"""What a notebook's output carries besides its text, so that a run can read back what its cells found.

Under this MIME type lies plain data with any of ``comparisons`` (a list of lab.compare's to_json), ``claims`` (a list
of sentence and holds) and ``picture`` (the name of the SVG that the same output carries).
"""

FINDING_MIME = "application/vnd.gradient-lab.finding+json"
