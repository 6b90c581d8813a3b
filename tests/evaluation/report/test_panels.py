from plotly.graph_objects import Figure, Scatter

from themo.evaluation.report.panels import Grid, Panel, layout_axes, trace_axes


def test_axes_of_a_panel_are_numbered_as_plotly_does() -> None:
    assert trace_axes(0) == {"xaxis": "x", "yaxis": "y"}
    assert trace_axes(2) == {"xaxis": "x3", "yaxis": "y3"}
    layout = layout_axes(2, {"dtick": 1}, {})
    assert layout == {"xaxis3": {"anchor": "y3", "dtick": 1}, "yaxis3": {"anchor": "x3"}}


def test_plotly_accepts_the_grid_and_its_axes() -> None:
    grid = Grid([Panel("learn_rate", 150), Panel("pooling", 150)], columns=4, least=150, gap=24, shared=True)
    figure = Figure([Scatter(y=[1, 2], **trace_axes(i)) for i in range(2)])
    figure.update_layout(meta=grid.to_meta(), **layout_axes(0, {}, {}), **layout_axes(1, {}, {}))
    meta = figure.to_plotly_json()["layout"]["meta"]
    assert meta["panels"][1] == {"title": "pooling", "height": 150}
    assert (meta["columns"], meta["least"], meta["shared"]) == (4, 150, True)
