"""Liquid and MJML templates: checked, limited, rendered."""
