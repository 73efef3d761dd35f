"""The widget: its HTML, its payloads and its assets."""
