"""Writes the files of crates/sconce/tests/data/legacy with PyTorch; usage: make_legacy.py FOLDER."""

import collections
import io
import pickle
import struct
import sys
import tarfile

import torch


class Reference:
    """A tensor as the tar format refers to it: by number."""

    def __init__(self, number):
        self.number = number


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return str(obj.number) if isinstance(obj, Reference) else None


def tar(path):
    """PyTorch only reads its first format; this writes it."""
    storages = [pickle.dumps(1, 2), pickle.dumps((1001, "cpu", torch.FloatStorage), 2)]
    storages += [struct.pack("<q6f", 6, *range(6)), pickle.dumps([(1002, 1001, 2, 4)], 2)]
    tensors = [pickle.dumps(2, 2), pickle.dumps((7, 1001, torch.FloatTensor), 2)]
    tensors += [struct.pack("<iiqqqqq", 2, 0, 2, 3, 3, 1, 0)]
    tensors += [pickle.dumps((8, 1002, torch.FloatTensor), 2), struct.pack("<iiqqq", 1, 0, 2, 1, 1)]
    obj = io.BytesIO()
    items = [("w", Reference(7)), ("v", Reference(8)), ("again", Reference(7))]
    Pickler(obj, 2).dump(collections.OrderedDict(items))
    members = {
        "sys_info": pickle.dumps({"protocol_version": 1000, "little_endian": True}, 2),
        "pickle": obj.getvalue(),
        "tensors": b"".join(tensors),
        "storages": b"".join(storages),
    }
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    loaded = torch.load(path, weights_only=False)
    assert loaded["v"].tolist() == [3, 4] and loaded["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


def main(folder):
    torch.manual_seed(0)
    # A module's source lies beside it; what it says does not matter here.
    torch.serialization.get_source_lines_and_file = lambda obj: (["source"], 1, "file.py")
    legacy = {"_use_new_zipfile_serialization": False}
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    torch.save(module, f"{folder}/module.pt", **legacy)
    base = torch.arange(6.0)
    mixed = {
        "a": base,
        "b": base[2:],
        "float8": torch.tensor([1.0, 2.0, -0.5]).to(torch.float8_e4m3fn),
        "uint16": torch.arange(3).to(torch.uint16),
        "quantized": torch.quantize_per_tensor(torch.arange(4.0), 0.5, 3, torch.quint8),
        "sparse": torch.eye(2).to_sparse(),
        "parameter": torch.nn.Parameter(base),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "step": 5,
    }
    torch.save(mixed, f"{folder}/mixed.pt", **legacy)
    torch.save({"a": base}, f"{folder}/protocol_4.pt", pickle_protocol=4, **legacy)
    scales, zeros = torch.tensor([0.1, 0.2], dtype=torch.float64), torch.tensor([0, -1])
    channels = torch.quantize_per_channel(torch.arange(6.0).reshape(2, 3), scales, zeros, 0, torch.qint8)
    torch.save({"q": channels}, f"{folder}/channels.pt")
    tar(f"{folder}/first.tar")


main(sys.argv[1])
