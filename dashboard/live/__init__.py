"""The dashboard's own routes: the chart's data, live events, exports."""
