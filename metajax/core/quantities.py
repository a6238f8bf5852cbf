"""Numbers in words that fit a table or a line."""


def count(number: float) -> str:
    """A large number in words that fit a table: ``160,000``, ``12.3 million``."""
    if number >= 0.9995e9:  # 999.7 million are 1 billion in three digits
        return f"{number / 1e9:.3g} billion"
    return f"{number / 1e6:.3g} million" if number >= 1e6 else f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Seconds for a table: ``0.42 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
