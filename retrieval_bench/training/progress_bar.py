"""Lightning's progress bar, for trainings that count steps."""

from pytorch_lightning.callbacks import RichProgressBar


class EpochBar(RichProgressBar):
    """Says which epoch it is, and of how many where that is known; Lightning's says ``/-2`` where steps are counted."""

    def _get_train_description(self, current_epoch: int) -> str:
        description = super()._get_train_description(current_epoch)
        return description if self.trainer.max_epochs != -1 else description.replace("/-2", "").ljust(len(description))
