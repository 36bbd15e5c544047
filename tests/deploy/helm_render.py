"""Renders the chart with Helm's own code: `helm_render.py CHART`, with values as JSON on standard input.

It runs with the tools of deploy/tools.lock. It prints the manifests as JSON; an error exits with 1.
"""

from __future__ import annotations

import json
import sys

import helm_python

chart_folder = sys.argv[1]
values = json.load(sys.stdin)
try:
    with helm_python.Chart.load(chart_folder) as chart:
        chart.validate_schema(values)
        print(json.dumps(chart.render(values, name="shop", namespace="prod")))
except helm_python.HelmError as error:
    sys.exit(str(error))
problems = [one for one in helm_python.lint(chart_folder, values)["messages"] if one["severity"] > 1]
if problems:
    sys.exit(f"helm lint: {problems}")
