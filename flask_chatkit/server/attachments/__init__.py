"""Attachments: checked, stored, linked and sent."""
