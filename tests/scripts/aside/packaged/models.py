from torch import nn


class MLP(nn.Module):
    def __init__(self, width=32, depth=1, dropout=0.0):
        super().__init__()
        dims = [64] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(dims[:-1], dims[1:]))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dims[-1], 10)

    def forward(self, x):
        for layer in self.hidden:
            x = self.dropout(layer(x).relu())
        return self.head(x)
