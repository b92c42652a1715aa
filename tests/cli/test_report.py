"""The table of results."""

from parrotlet.cli.report import print_table


def test_names_are_shown_as_they_are(capsys):
    """Brackets are no markup."""
    task = {"accuracy": 0.5, "n": 10, "low": 0.2, "high": 0.8, "chance": 0.25, "without_tool": None}
    entry = {"val_bpb": None, "val_loss": None, "tasks": {"gsm8k [ours]": task, "x [/y]": task}}
    print_table({"wall_seconds": 1.0, "stages": {"sft": entry}})
    out = capsys.readouterr().out
    assert "gsm8k [ours]" in out
    assert "x [/y]" in out
