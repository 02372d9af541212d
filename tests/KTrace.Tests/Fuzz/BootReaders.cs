using System.IO.Compression;
using KTrace.Boot;
using KTrace.Boot.Images;
using KTrace.Boot.Kernels;
using KTrace.Boot.Scenarios;
using KTrace.Tests.Support;

namespace KTrace.Tests.Fuzz;

/// <summary>What a boot is prepared from: archives, module indexes, scenarios, images.</summary>
internal static class BootReaders
{
    public static IEnumerable<FuzzReader> All =>
    [
        new("cpio", 6, Archives, [Mutation.OfBytes, Mutation.OfText, Mutation.OfBlocks], Archive, FuzzReader.Boot),
        new("cpio-extract", 2, Archives, [Mutation.OfBytes, Mutation.OfText, Mutation.OfBlocks], Extract, FuzzReader.Boot),
        new("module-index", 3, Indexes, [Mutation.OfText], Index, FuzzReader.Boot),
        new("module-files", 4, ModuleSeeds, [MutationOfElf.Of, Mutation.OfBytes], ModuleFile, FuzzReader.Boot),
        new("boot-images", 2, Images, [Mutation.OfBytes, Mutation.OfBlocks], Image, FuzzReader.Boot),
        new("scenarios", 5, Scenarios, [Mutation.OfText], Scenario, FuzzReader.Boot),
        new("manifests", 2, Manifests, [Mutation.OfText], Manifest, FuzzReader.Boot),
    ];

    private static IReadOnlyList<FuzzSeed> Archives(ScratchFolder folder)
    {
        var archive = new CpioArchive();
        archive.AddDirectory("bin");
        archive.AddFile("bin/busybox", new byte[300], 0x1ed);
        archive.AddHardLink("bin/sh", "bin/busybox");
        archive.AddSymbolicLink("init", "bin/busybox");
        archive.AddSymbolicLink("etc", "/bin");
        archive.AddCharacterDevice("dev/console", 5, 1);
        archive.AddFile("lib/modules/x.ko", "module"u8.ToArray());
        var plain = new MemoryStream();
        archive.WriteTo(plain);
        var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Optimal, leaveOpen: true))
        {
            gzip.Write(plain.ToArray());
        }

        return
        [
            FuzzSeed.OfFile("plain", plain.ToArray()),
            FuzzSeed.OfFile("gzip", packed.ToArray()),
            FuzzSeed.OfFile("microcode and gzip", [.. plain.ToArray(), .. packed.ToArray()]),
        ];
    }

    private static void Archive(FuzzCase c)
    {
        c.Ask(() =>
        {
            var buffer = new byte[64];
            InitramfsFile.Visit(c.FilePath, (entry, data) =>
            {
                _ = entry.ToListLine();
                while (data.Read(buffer) > 0)
                {
                }
            });
        });
        c.Ask(() => InitramfsFile.List(c.FilePath));
    }

    private static void Extract(FuzzCase c)
    {
        var outside = Path.GetDirectoryName(c.OwnFolder())!;
        var target = Path.Combine(Directory.CreateDirectory(c.OwnFolder()).FullName, "a", "b");
        _ = c.FilePath;
        c.Ask(() => CpioFolder.Extract(c.FilePath, target));
        // Nothing may be written beside the folder: not by "..", not through a link that the archive made.
        Assert.All(Directory.EnumerateFileSystemEntries(Path.GetDirectoryName(target)!), p => Assert.StartsWith(target, p, StringComparison.Ordinal));
        Assert.All(Directory.EnumerateFileSystemEntries(c.OwnFolder()), p => Assert.EndsWith("/a", p, StringComparison.Ordinal));
        Assert.Equal([c.FilePath, c.OwnFolder()], Directory.EnumerateFileSystemEntries(outside).Order(StringComparer.Ordinal));
        c.Ask(() =>
        {
            if (Directory.Exists(target))
            {
                CpioFolder.Pack(target).WriteTo(Stream.Null);
            }
        });
    }

    private static IReadOnlyList<FuzzSeed> Indexes(ScratchFolder folder) =>
    [
        new("depmod", new Dictionary<string, byte[]>
        {
            ["modules.dep"] = "kernel/a.ko: kernel/b.ko.xz kernel/c-d.ko\nkernel/b.ko.xz:\nkernel/c-d.ko: kernel/b.ko.xz\n"u8.ToArray(),
            ["modules.builtin"] = "kernel/fs/ext4/ext4.ko\nkernel/lib/crc16.ko\n"u8.ToArray(),
            ["modules.order"] = "kernel/a.ko\nkernel/e.ko\n"u8.ToArray(),
            ["modules.softdep"] = "softdep a pre: b post: c\n"u8.ToArray(),
            ["kernel/a.ko"] = File.ReadAllBytes(StockKernel.Module("crc16")),
            ["kernel/c-d.ko"] = File.ReadAllBytes(StockKernel.Module("crc16")),
        })
        { Victims = ["modules.dep", "modules.builtin", "modules.order", "modules.softdep"] },
    ];

    private static void Index(FuzzCase c)
    {
        foreach (var (name, bytes) in c.Parts)
        {
            var path = Path.Combine(c.OwnFolder(), name);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllBytes(path, bytes);
        }

        if (c.Ask(() => ModuleIndex.Open(c.OwnFolder())) is not { } index)
        {
            return;
        }

        foreach (var name in (string[])["a", "c_d", "ext4", "nothing"])
        {
            c.Ask(() => (index.Knows(name), index.IsBuiltIn(name), index.Find(name)).ToString());
            c.Ask(() => index.ResolveAsync([name]).GetAwaiter().GetResult().Length.ToString());
        }

        _ = index.Names.Count();
    }

    private static IReadOnlyList<FuzzSeed> ModuleSeeds(ScratchFolder folder) =>
        [FuzzSeed.OfFile("crc16", File.ReadAllBytes(StockKernel.Module("crc16"))), FuzzSeed.OfFile("e1000e", File.ReadAllBytes(StockKernel.Module("e1000e")))];

    private static void ModuleFile(FuzzCase c)
    {
        c.Ask(() =>
        {
            if (ElfPeek.TryOpen(c.FilePath) is { } peek)
            {
                _ = (peek.Is64Bit, peek.Machine, peek.HasInterpreter, peek.IsStatic);
                _ = peek.TryReadSection(".modinfo")?.Length + peek.TryReadSection(".text")?.Length + peek.TryReadSection("")?.Length;
            }
        });
        var named = c.FilePath + ".ko";
        File.Move(c.FilePath, named);
        try
        {
            c.Ask(() => ModInfo.ReadAsync(named, CancellationToken.None).GetAwaiter().GetResult());
        }
        finally
        {
            File.Delete(named);
        }
    }

    private static IReadOnlyList<FuzzSeed> Images(ScratchFolder folder)
    {
        using var file = File.OpenRead(StockKernel.Vmlinuz);
        var start = new byte[0x8000];
        file.ReadExactly(start);
        return [FuzzSeed.OfFile("vmlinuz", start)];
    }

    private static void Image(FuzzCase c) =>
        c.Ask(() => (BootImage.IsBootable(c.FilePath), BootImage.Is64Bit(c.FilePath), BootImage.Release(c.FilePath)).ToString());

    private static IReadOnlyList<FuzzSeed> Scenarios(ScratchFolder folder) =>
    [
        .. Directory.EnumerateFiles(Path.Combine(Boot.Repository.Root, "scenarios"), "*.yaml").Order(StringComparer.Ordinal).Select(f => FuzzSeed.OfFile(Path.GetFileName(f), File.ReadAllBytes(f))),
    ];

    private static void Scenario(FuzzCase c)
    {
        if (c.Ask(() => ScenarioReader.Read(c.Text, "fuzz.yaml", "/folder")) is { } scenario)
        {
            Assert.Equal(scenario, KTrace.Boot.Scenarios.Scenario.FromJson(scenario.ToJson()));
        }
    }

    private static IReadOnlyList<FuzzSeed> Manifests(ScratchFolder folder) =>
    [
        FuzzSeed.OfText("manifest", """
            {"format": 1, "release": "6.1.0", "packages": [{"name": "linux-image", "version": "1", "sha256": "00"}], "modules": ["e1000e"],
             "files": [{"path": "boot/vmlinuz", "size": 12, "sha256": "00", "modified": "2026-01-01T00:00:00+00:00"}]}
            """),
    ];

    private static void Manifest(FuzzCase c)
    {
        var folder = Directory.CreateDirectory(Path.Combine(c.OwnFolder(), "6.1.0")).FullName;
        File.WriteAllBytes(Path.Combine(folder, KernelManifest.FileName), c.Bytes);
        c.Ask(() => KernelManifest.TryRead(folder)?.ToString());
        c.Ask(() => ModInfo.Parse(c.Bytes).ToString());
    }
}
