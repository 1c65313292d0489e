"""The digits that come with scikit-learn, and a network for them."""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class DigitsData(lightning.LightningDataModule):
    def __init__(self, batch_size: int = 64, num_workers: int = 0) -> None:
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage: str) -> None:
        images, labels = load_digits(return_X_y=True)
        digits = TensorDataset(torch.tensor(images / 16).float(), torch.tensor(labels))
        split = torch.Generator().manual_seed(0)
        self.train_set, self.val_set = random_split(digits, [0.8, 0.2], split)

    def train_dataloader(self) -> DataLoader:
        return self._loader(self.train_set, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.val_set)

    def _loader(self, part: torch.utils.data.Dataset, shuffle: bool = False) -> DataLoader:
        hparams = self.hparams
        workers = hparams.num_workers
        return DataLoader(part, batch_size=hparams.batch_size, shuffle=shuffle, num_workers=workers)


class Classifier(lightning.LightningModule):
    def __init__(self, hidden: int = 32, lr: float = 1e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
        # What config says of it nowhere.
        self.save_hyperparameters({"parameters": sum(one.numel() for one in self.parameters())})

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        loss = nn.functional.cross_entropy(self.network(images), labels)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, labels = batch
        scores = self.network(images)
        self.log("val/loss", nn.functional.cross_entropy(scores, labels), sync_dist=True)
        self.log("val/acc", (scores.argmax(1) == labels).float().mean(), prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
