"""SMTP: connections, pipelining, reply codes and DKIM."""
