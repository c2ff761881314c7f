"""The numbers of S3's paper, from which a rerun is planned and with which it is compared.

Wang, Zhou, Sachan: "Let's Synthesize Step by Step", Findings of EMNLP 2023 (arXiv 2310.13671v1).
Scores are in percent: accuracy, or exact match and F1 for AdQA. The numbers are as printed; the
paper's slips are in `docs/paper.md`.
"""

DATA_SETS = ("imdb", "qnli", "rte", "adqa")
Scores = tuple[float, ...]

TABLE_2_ROWS: dict[str, dict[str, int]] = {
    "gold": {"imdb": 25_000, "qnli": 105_000, "rte": 2_500, "adqa": 30_000},
    "progen": {"imdb": 100_000},
    "zerogen": {"imdb": 200_000, "qnli": 200_000, "rte": 200_000, "adqa": 200_000},
    "goldgen": {"imdb": 25_000, "qnli": 150_000, "rte": 30_000, "adqa": 80_000},
    "s3": {"imdb": 21_200, "qnli": 168_000, "rte": 33_600, "adqa": 81_500},
}
"""Method -> data set -> training rows."""

TABLE_2: dict[str, dict[str, Scores]] = {
    "gold": {"imdb": (87.93,), "qnli": (88.05,), "rte": (58.12,), "adqa": (18.60, 29.85)},
    "progen": {"imdb": (84.12,)},
    "zerogen": {"imdb": (84.28,), "qnli": (71.19,), "rte": (59.93,), "adqa": (6.33, 9.96)},
    "goldgen": {"imdb": (87.93,), "qnli": (78.31,), "rte": (64.25,), "adqa": (11.63, 23.33)},
    "s3": {"imdb": (89.00,), "qnli": (79.92,), "rte": (73.29,), "adqa": (12.50, 24.38)},
}

TABLE_3: dict[str, dict[str, Scores]] = {
    "s3": TABLE_2["s3"],
    "without EES": {
        "imdb": (86.86,),
        "qnli": (73.70,),
        "rte": (65.71,),
        "adqa": (8.70, 20.03),
    },
}
"""S3 and seed data alone, with equal numbers of rows according to the paper."""

TABLE_4: dict[str, tuple[int, float]] = {
    "with rationales": (15_000, 86.86),
    "without rationales": (40_000, 85.34),
}
"""IMDb, seed data alone -> rows, accuracy."""

TABLE_5: dict[str, dict[str, Scores]] = {
    "zerogen": {"imdb": (84.28,), "qnli": (68.60,), "adqa": (4.60, 9.62)},
    "+ data mined with S3's model": {"imdb": (87.50,), "qnli": (73.51,), "adqa": (9.70, 20.10)},
    "+ data mined with ZeroGen's model": {
        "imdb": (87.41,),
        "qnli": (72.21,),
        "adqa": (10.27, 19.92),
    },
}

TABLE_6: dict[str, dict[str, float]] = {
    "pairs": {"imdb": 6173, "qnli": 51_100, "rte": 1522, "adqa": 51_532},
    "cosine": {"imdb": 0.9497, "qnli": 0.9537, "rte": 0.9380, "adqa": 0.9468},
    "edit distance": {"imdb": 273.92, "qnli": 14.64, "rte": 16.38, "adqa": 13.99},
    "length of the error": {"imdb": 288.04, "qnli": 14.17, "rte": 13.91, "adqa": 13.73},
    "length of the extrapolation": {"imdb": 218.72, "qnli": 19.97, "rte": 24.61, "adqa": 18.70},
}
"""Extrapolations against their errors. Lengths and distances are in DistilBERT's tokens with
[CLS] and [SEP]: counted so, the published extrapolations of IMDb and RTE have these lengths."""

TABLE_8: dict[str, dict[str, float]] = {
    "s3": {"qnli": 76.35, "rte": 73.59, "adqa": 51.02},
    "zerogen": {"qnli": 63.03, "rte": 14.90, "adqa": 46.00},
}
"""Coverage of gold points in percent."""

TABLE_9: dict[str, dict[str, Scores]] = {
    "gold": {"imdb": (92.30,), "qnli": (91.00,), "rte": (71.50,), "adqa": (22.97, 36.59)},
    "zerogen": {"imdb": (83.66,), "qnli": (70.11,), "rte": (72.20,), "adqa": (5.07, 10.74)},
    "s3": {"imdb": (89.55,), "qnli": (85.20,), "rte": (76.17,), "adqa": (20.50, 34.40)},
}
"""The MiniLM student."""

ROUND_ROWS: dict[str, tuple[int, int]] = {
    "imdb": (3291, 2882),
    "rte": (883, 639),
    "qnli": (25_550, 25_550),
    "adqa": (25_766, 25_766),
}
"""Rows added in rounds 1 and 2: as released for IMDb and RTE, else halves of Table 6's pairs."""

SEED_ROWS: dict[str, int] = {"imdb": 15_000, "qnli": 116_900, "rte": 32_100, "adqa": 30_000}
"""Final rows less the added ones, rounded."""


TOKENS = 512
"""Tokens of a row; the paper pads all rows."""


def flops(row_epochs: int, *, parameters: float = 66e6) -> float:
    """Return the cost of training as in Appendix B: 6 per parameter and token.

    Args:
        row_epochs: Rows times epochs, over all fits.
        parameters: Parameters of the student; DistilBERT's 66 million by default.
    """
    return 6 * parameters * TOKENS * row_epochs
