"""A small convolutional network, as one would write it anyway."""

from torch import nn


class SmallNet(nn.Module):
    def __init__(self, num_classes, width=16, dropout=0.0):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, images):
        return self.head(self.dropout(self.features(images).mean((2, 3))))
