"""python -m infra.helm: writes the chart's files that come from elsewhere in the product anew."""

from infra.helm import chart

chart.RULES.mkdir(exist_ok=True)
wanted = chart.generated()
for path, text in wanted.items():
    path.write_text(text, "utf-8")
for path in set(chart.RULES.glob("*")) - set(wanted):
    path.unlink()
