"""Every file that operations rest on, rendered, linted or validated by the tool that will read it: `python -m infra.checks`."""
