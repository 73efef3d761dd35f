"""The HTTP surface: routes, the checks that come before a view, and the views."""
