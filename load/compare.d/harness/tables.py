"""A table as text for a terminal, or as Markdown."""

from dataclasses import dataclass, field


@dataclass
class Table:
    """Columns are (heading, alignment), "<" or ">"; rows are lists of texts."""

    columns: list
    rows: list = field(default_factory=list)

    def text(self):
        widths = [max(len(line[i]) for line in [self._heads(), *self.rows]) for i in range(len(self.columns))]
        lines = [self._line(line, widths) for line in [self._heads(), *self.rows]]
        return "\n".join(line.rstrip() for line in lines)

    def _heads(self):
        return [heading for heading, _ in self.columns]

    def _line(self, words, widths):
        return "  ".join(f"{word:{align}{width}}" for word, width, (_, align) in zip(words, widths, self.columns))

    def markdown(self):
        marks = ["---:" if align == ">" else "---" for _, align in self.columns]
        return "\n".join("| " + " | ".join(word.replace("|", "\\|") for word in line) + " |"
                         for line in [self._heads(), marks, *self.rows])
