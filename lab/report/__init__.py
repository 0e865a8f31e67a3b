"""The pages: results for people, as files that need no server and no network."""
