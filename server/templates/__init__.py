"""Checks and renders the Liquid and MJML templates of campaigns, within limits."""
