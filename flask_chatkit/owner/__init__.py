"""For the site's owner: import threads, export and delete a person's data, prune, and count."""
