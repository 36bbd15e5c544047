"""`clarion up`: all of Clarion on one machine."""
