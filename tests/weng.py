"""A conversation that the tests of several floors look at."""

WENG = [
    {
        "role": "user",
        "content": "Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of babysitting. "
        "How much did she earn?",
    },
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Weng earns 12/60 = $"},
            {"type": "python", "text": "12/60"},
            {"type": "python_output", "text": "0.2"},
            {"type": "text", "text": "0.2 per minute.\nWorking 50 minutes, she earned 0.2 x 50 = $"},
            {"type": "python", "text": "0.2*50"},
            {"type": "python_output", "text": "10"},
            {"type": "text", "text": "10.\n#### 10"},
        ],
    },
]
"""DESIGN's conversation to hold on to."""
