"""``npresnet report``."""

from __future__ import annotations

import click

from npresnet.cli import options
from npresnet.cli.help import Command
from npresnet.untrusted.files import shown_path


@click.command(cls=Command)
@click.argument("folder", metavar="RUN_FOLDER", type=click.Path())
@click.option(
    "--data-dir",
    type=click.Path(),
    metavar="DIR",
    help="Folder that holds the data set.  [default: where it was when the run began]",
)
@options.threads
@options.as_json
def report(
    folder: str, data_dir: str | None, threads: int | None, as_json: bool
) -> None:
    """Write RUN_FOLDER's report.html anew.

    One page that needs no other file and no network: accuracy, learning curves,
    which classes are taken for which, the most confident mistakes as pictures, the
    settings with their sources, time and machine, and the command that repeats the
    run. Training writes it in the end; here the test images are measured again with
    the weights in the folder. After an interruption it tells how far the run came.

    Try:
      npresnet report runs/NAME
    """
    from npresnet.cli.subject import identify
    from npresnet.cli.train import load_data, read_known_config
    from npresnet.training import RunFolder, evaluate, write_report

    options.use_threads(threads)
    run = RunFolder.open(folder)
    read_known_config(run)
    subject = identify(str(run.weights_path), None, None, None, data_dir)
    network = subject.build()
    _, test = load_data(subject.dataset, subject.data_dir)
    result = evaluate(
        network, test, flip=subject.flip, mean=subject.mean, std=subject.std
    )
    path = write_report(run, test, result)
    if as_json:
        options.print_json({"report": str(path), **result.to_dict()})
        return
    click.echo(shown_path(path))
