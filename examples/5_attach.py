"""One optimizer in your own loop: one line more, and the rate it was built with no longer matters."""

import torch
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR

import galatune
from galatune.demo.objective import load, make_net

x, y, x_valid, y_valid = load()
for lr in (1e-6, 10.0):
    torch.manual_seed(0)
    net = make_net(width=8, dropout=0.1)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    controller = galatune.attach(optimizer)  # the line
    scheduler = CosineAnnealingLR(optimizer, 100)
    for _ in range(100):
        batch = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
        scheduler.step()
    net.eval()
    with torch.no_grad():
        loss = functional.cross_entropy(net(x_valid), y_valid).item()
    peak = max(rate for _, rate in controller.rate_curve.points())
    print(f"built with {lr:g}: loss {loss:.6f}, peak rate {peak:.3f}, probe {controller.probe}")
