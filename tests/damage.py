"""Damages of files."""


def mutate(content, rng):
    """Return bytes of which some are changed, cut out or doubled, at up to three places."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        if not content:
            break
        n = len(content)
        # Headers lie at the ends; most of the middle is packed data.
        near = int(rng.integers(min(n, 600)))
        start = int(rng.choice([rng.integers(n), near, n - 1 - near]))
        part = slice(start, start + int(rng.choice([1, 1, 2, 4, 64, 4096])))
        length = len(content[part])
        value = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, content[start] ^ 1 << rng.integers(8)]))
        changes = [
            (slice(start, start + 1), bytes([value])),
            (part, bytes([value]) * length),
            (part, rng.bytes(length)),
            (part, b""),
            (part, bytes(content[part]) * 2),
            (slice(max(start, 1), None), b""),
        ]
        place, new = changes[rng.integers(len(changes))]
        content[place] = new
    return bytes(content)
