"""Tests of what ships Clarion: deploy/."""
