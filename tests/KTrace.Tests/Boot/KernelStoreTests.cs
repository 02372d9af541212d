using System.Text;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Scenarios;

namespace KTrace.Tests.Boot;

/// <summary>The cache, fed by an archive of small packages; dpkg-deb and xz are the real ones.</summary>
public sealed class KernelStoreTests : IDisposable
{
    private const string Release = "9.9.0-1-test";
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task A_fetch_brings_image_vmlinux_and_the_closure_of_the_wanted_modules_and_nothing_else()
    {
        var archive = new FakeArchive();
        var kernel = await Store(archive).FetchAsync(null, ["top-driver"], NoProgress.Instance);
        Assert.Equal(Release, kernel.Release);
        Assert.Equal("image", File.ReadAllText(kernel.Image));
        Assert.Equal("vmlinux", File.ReadAllText(kernel.Vmlinux!));
        Assert.Equal("the real map",
            File.ReadAllText(Path.Combine(folder.Path, "kernels", Release, "boot", "System.map-" + Release)));
        Assert.Equal(["bottom", "middle", "top_driver"], ModuleIndex.Open(kernel.ModulesDirectory!).Names);
        Assert.Equal("debug of middle", File.ReadAllText(kernel.FindDebugModule("middle")!));
        Assert.Null(kernel.FindDebugModule("unwanted"));
        Assert.Equal(
            "kernel/a/bottom.ko:\nkernel/a/top-driver.ko: kernel/b/middle.ko kernel/a/bottom.ko\nkernel/b/middle.ko: kernel/a/bottom.ko\n",
            File.ReadAllText(Path.Combine(kernel.ModulesDirectory!, "modules.dep")));
        Assert.Equal([".lock", Release, "stock"], Directory.EnumerateFileSystemEntries(folder.File("kernels"))
            .Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_compressed_module_is_plain_in_the_cache()
    {
        var archive = new FakeArchive { CompressMiddle = true };
        var kernel = await Store(archive).FetchAsync(null, ["top_driver"], NoProgress.Instance);
        var middle = ModuleIndex.Open(kernel.ModulesDirectory!).Find("middle")!;
        Assert.EndsWith("/kernel/b/middle.ko", middle, StringComparison.Ordinal);
        Assert.Equal(FakeArchive.Middle, File.ReadAllBytes(middle));
    }

    [Fact]
    public async Task What_is_there_is_not_fetched_again_but_a_missing_module_is()
    {
        var archive = new FakeArchive();
        var store = Store(archive);
        await store.FetchAsync(null, ["bottom"], NoProgress.Instance);
        await store.FetchAsync(null, ["bottom", "built-in"], NoProgress.Instance);
        await store.FetchAsync(Release, [], NoProgress.Instance, refresh: true);
        Assert.Equal((1, 2), (archive.Asked, archive.Downloads));
        var kernel = await store.FetchAsync(Release, ["unwanted"], NoProgress.Instance);
        Assert.Equal((2, 4), (archive.Asked, archive.Downloads));
        // What an earlier fetch brought stays.
        Assert.Equal(["bottom", "unwanted"], ModuleIndex.Open(kernel.ModulesDirectory!).Names);
    }

    [Theory]
    [InlineData("image")]
    [InlineData("debug")]
    public async Task A_package_with_a_wrong_hash_is_not_used(string which)
    {
        var archive = new FakeArchive { WrongHash = which };
        var error = await Assert.ThrowsAsync<BootException>(() => Store(archive).FetchAsync(null, [], NoProgress.Instance));
        Assert.Contains("SHA-256", error.Message, StringComparison.Ordinal);
        AssertEmpty();
    }

    [Fact]
    public async Task A_truncated_package_is_not_used()
    {
        var archive = new FakeArchive { Truncate = true };
        await Assert.ThrowsAsync<BootException>(() => Store(archive).FetchAsync(null, [], NoProgress.Instance));
        AssertEmpty();
    }

    [Fact]
    public async Task A_path_that_leaves_the_folder_is_refused_and_links_are_not_followed()
    {
        using var deb = new TemporaryFolder();
        var victim = deb.Write("victim/file", "intact");
        var package = deb.File("evil.deb");
        File.WriteAllBytes(package, DebBuilder.Build(("./../evil", "evil"u8.ToArray())));
        await Assert.ThrowsAsync<BootException>(() => PackageUnpacker.UnpackAsync(package, deb.File("out/in"), path => path, null,
            0, NoProgress.Instance, default));
        Assert.False(File.Exists(deb.File("out/evil")));

        File.WriteAllBytes(package, DebBuilder.Build(("./link", Encoding.ASCII.GetBytes("LINK " + deb.File("victim"))),
            ("./link/file", "evil"u8.ToArray())));
        await PackageUnpacker.UnpackAsync(package, deb.File("out"), path => path, null, 0, NoProgress.Instance, default);
        Assert.Equal("intact", File.ReadAllText(victim));
        Assert.Equal("evil", File.ReadAllText(deb.File("out/link/file")));
    }

    [Fact]
    public async Task An_unknown_module_is_reported_before_the_large_package_is_unpacked()
    {
        var error = await Assert.ThrowsAsync<BootException>(() => Store(new FakeArchive()).FetchAsync(null, ["midle"],
            NoProgress.Instance));
        Assert.Equal(("this kernel has no module midle", "near names: middle"), (error.Message, error.Remedy));
        AssertEmpty();
    }

    [Fact]
    public async Task An_interrupted_fetch_leaves_nothing_that_is_trusted_and_the_next_one_cleans_up()
    {
        using var cancel = new CancellationTokenSource();
        var archive = new FakeArchive { OnDebugDownload = cancel.Cancel };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Store(archive).FetchAsync(null, [], NoProgress.Instance,
            cancellationToken: cancel.Token));
        AssertEmpty();

        // What kill -9 leaves: the partial folder as it was, and a finished-looking folder whose manifest was never written.
        folder.Write($"kernels/.partial-{Release}/{Release}/boot/vmlinuz-{Release}", "half");
        folder.Write($"kernels/{Release}/boot/vmlinuz-{Release}", "half");
        var store = Store(new FakeArchive());
        Assert.Null(store.Find(Release));
        Assert.Empty(store.List());
        Assert.Equal("image", File.ReadAllText((await store.FetchAsync(null, [], NoProgress.Instance)).Image));
        Assert.False(Directory.Exists(folder.File($"kernels/.partial-{Release}")));
    }

    [Theory]
    [InlineData("truncate")]
    [InlineData("delete")]
    [InlineData("manifest")]
    public async Task A_kernel_whose_files_changed_is_not_trusted_and_is_fetched_again(string damage)
    {
        var store = Store(new FakeArchive());
        var kernel = await store.FetchAsync(null, ["bottom"], NoProgress.Instance);
        switch (damage)
        {
            case "truncate":
                var modified = File.GetLastWriteTimeUtc(kernel.Vmlinux!);
                File.WriteAllText(kernel.Vmlinux!, "vml");
                File.SetLastWriteTimeUtc(kernel.Vmlinux!, modified);
                break;
            case "delete":
                File.Delete(kernel.FindDebugModule("bottom")!);
                break;
            default:
                File.WriteAllText(folder.File($"kernels/{Release}/manifest.json"), "{\"format\":1");
                break;
        }

        Assert.Null(store.Find("stock"));
        Assert.Equal("vmlinux", File.ReadAllText((await store.FetchAsync(null, [], NoProgress.Instance)).Vmlinux!));
    }

    [Fact]
    public async Task A_file_whose_contents_rotted_is_found_by_its_hash()
    {
        var store = Store(new FakeArchive());
        var kernel = await store.FetchAsync(null, [], NoProgress.Instance);
        Assert.Empty(await store.FindDamageAsync());
        var modified = File.GetLastWriteTimeUtc(kernel.Vmlinux!);
        File.WriteAllText(kernel.Vmlinux!, "VMLINUX");
        File.SetLastWriteTimeUtc(kernel.Vmlinux!, modified);
        Assert.Equal([kernel.Vmlinux!], await store.FindDamageAsync());
    }

    [Fact]
    public async Task Two_fetches_at_once_are_one_after_the_other()
    {
        var archive = new FakeArchive();
        var kernels = await Task.WhenAll(Store(archive).FetchAsync(null, ["bottom"], NoProgress.Instance),
            Store(archive).FetchAsync(null, ["bottom"], NoProgress.Instance));
        Assert.Equal(kernels[0], kernels[1]);
        Assert.Equal(2, archive.Downloads);
        Assert.Equal(1, archive.MostAtOnce);
    }

    [Fact]
    public void Kernels_of_the_system_are_found_with_what_they_have()
    {
        folder.Write("root/boot/vmlinuz-1.0", "");
        folder.Write("root/boot/config-1.0", "");
        folder.Write("root/lib/modules/1.0/modules.dep", "");
        folder.Write("root/usr/lib/debug/boot/vmlinux-2.0", "");
        var store = new KernelStore(folder.Path, folder.File("root"), new FakeArchive());
        Assert.Equal(["1.0", "2.0"], store.List().Select(kernel => kernel.Release));
        Assert.Equal(
            new KernelFiles("1.0", folder.File("root/boot/vmlinuz-1.0"), null, folder.File("root/lib/modules/1.0"), null,
                folder.File("root/boot/config-1.0")) { Origin = KernelOrigin.System },
            store.Find("1.0"));
        Assert.Null(store.Find("2.0"));
        Assert.Null(store.Find("../1.0"));
    }

    [Fact]
    public void A_kernel_that_is_not_here_comes_with_the_command_that_fetches_it()
    {
        Assert.Equal("ktrace kernel fetch",
            Assert.Throws<BootException>(() => Store(new FakeArchive()).Resolve(new KernelChoice { Release = "stock" })).Remedy);
        Assert.Equal("ktrace kernel fetch 5.0",
            Assert.Throws<BootException>(() => Store(new FakeArchive()).Resolve(new KernelChoice { Release = "5.0" })).Remedy);
    }

    [Fact]
    public void A_build_tree_is_a_kernel()
    {
        folder.Write("tree/arch/x86/boot/bzImage", "");
        folder.Write("tree/vmlinux", "");
        folder.Write("tree/include/config/kernel.release", "6.1.0-mine+\n");
        folder.Write("tree/modules.order", "kernel/drivers/net/one.ko\nfs/two.o\n");
        File.WriteAllBytes(folder.Write("tree/drivers/net/one.ko", ""), DebBuilder.Module("depends=two"));
        File.WriteAllBytes(folder.Write("tree/fs/two.ko", ""), DebBuilder.Module("depends="));
        var kernel = KernelStore.FromBuildTree(folder.File("tree"));
        Assert.Equal(("6.1.0-mine+", folder.File("tree/vmlinux"), KernelOrigin.BuildTree),
            (kernel.Release, kernel.Vmlinux, kernel.Origin));
        Assert.Equal(["one", "two"], ModuleIndex.Open(kernel.ModulesDirectory!).Names);
        Assert.Equal(folder.File("tree/fs/two.ko"), kernel.FindDebugModule("two"));
        Assert.Throws<BootException>(() => KernelStore.FromBuildTree(folder.Path));
    }

    [Fact]
    public void The_stock_image_says_its_release_and_that_it_is_a_64_bit_kernel()
    {
        Assert.True(BootImage.IsBootable(Support.StockKernel.Vmlinuz));
        Assert.True(BootImage.Is64Bit(Support.StockKernel.Vmlinuz));
        Assert.Equal(Support.StockKernel.Release, BootImage.Release(Support.StockKernel.Vmlinuz));
        Assert.Equal(Support.StockKernel.Release, KernelStore.FromFiles(Support.StockKernel.Vmlinuz,
            Support.StockKernel.Vmlinux).Release);
        Assert.Throws<BootException>(() => KernelStore.FromFiles(folder.Write("text", "not a kernel")));
    }

    private KernelStore Store(FakeArchive archive) => new(folder.Path, folder.File("no-root"), archive);

    private void AssertEmpty()
    {
        Assert.Empty(Store(new FakeArchive()).List());
        Assert.Equal([".lock"], Directory.EnumerateFileSystemEntries(folder.File("kernels")).Select(Path.GetFileName));
    }

    private sealed class FakeArchive : IKernelArchive
    {
        public static readonly byte[] Middle = DebBuilder.Module("name=middle", "depends=bottom");
        private readonly Lock gate = new();
        private int working;

        public bool CompressMiddle { get; init; }

        public string? WrongHash { get; init; }

        public bool Truncate { get; init; }

        public Action? OnDebugDownload { get; init; }

        public int Asked { get; private set; }

        public int Downloads { get; private set; }

        public int MostAtOnce { get; private set; }

        public Task<KernelPackages> FindAsync(string? name, IBootProgress progress, CancellationToken cancellationToken)
        {
            Asked++;
            lock (gate)
            {
                working++;
                MostAtOnce = Math.Max(MostAtOnce, working);
            }

            return Task.FromResult(new KernelPackages(Release, Describe("image", Image()), Describe("debug", Debug())));
        }

        public async Task<string> DownloadAsync(ArchivePackage package, string target, IBootProgress progress,
            CancellationToken cancellationToken)
        {
            Downloads++;
            if (package.Name == "debug")
            {
                OnDebugDownload?.Invoke();
            }

            cancellationToken.ThrowIfCancellationRequested();
            var bytes = package.Name == "image" ? Image() : Debug();
            var path = Path.Combine(target, package.Name + ".deb");
            await File.WriteAllBytesAsync(path, Truncate ? bytes[..(bytes.Length / 2)] : bytes, cancellationToken);
            if (package.Name == "debug")
            {
                lock (gate)
                {
                    working--;
                }
            }

            return path;
        }

        private ArchivePackage Describe(string name, byte[] bytes) =>
            new(name, "1", "all", bytes.Length, bytes.Length, WrongHash == name ? new string('0', 64) : DebBuilder.Hash(bytes));

        private byte[] Image()
        {
            var middle = CompressMiddle ? ("./lib/modules/" + Release + "/kernel/b/middle.ko.xz", Xz(Middle))
                : ("./lib/modules/" + Release + "/kernel/b/middle.ko", Middle);
            return DebBuilder.Build(
                ("./boot/vmlinuz-" + Release, "image"u8.ToArray()),
                ("./boot/System.map-" + Release, "a note"u8.ToArray()),
                ($"./lib/modules/{Release}/kernel/a/bottom.ko", DebBuilder.Module("depends=")),
                ($"./lib/modules/{Release}/kernel/a/top-driver.ko", DebBuilder.Module("softdep=pre: not_there",
                    "depends=middle")),
                ($"./lib/modules/{Release}/kernel/a/unwanted.ko", DebBuilder.Module("depends=")),
                middle,
                ($"./lib/modules/{Release}/modules.builtin", "kernel/fs/built-in.ko\n"u8.ToArray()),
                ($"./lib/modules/{Release}/modules.order", "kernel/a/bottom.ko\n"u8.ToArray()),
                ("./usr/share/doc/readme", "no"u8.ToArray()));
        }

        private static byte[] Debug() => DebBuilder.Build(
            ("./usr/lib/debug/boot/System.map-" + Release, "the real map"u8.ToArray()),
            ("./usr/lib/debug/boot/vmlinux-" + Release, "vmlinux"u8.ToArray()),
            ($"./usr/lib/debug/lib/modules/{Release}/kernel/a/bottom.ko", "debug of bottom"u8.ToArray()),
            ($"./usr/lib/debug/lib/modules/{Release}/kernel/a/top-driver.ko", "debug of top"u8.ToArray()),
            ($"./usr/lib/debug/lib/modules/{Release}/kernel/a/unwanted.ko", "debug of unwanted"u8.ToArray()),
            ($"./usr/lib/debug/lib/modules/{Release}/kernel/b/middle.ko", "debug of middle"u8.ToArray()),
            ($"./usr/lib/debug/lib/modules/{Release}/vmlinux", "LINK ../../../boot/vmlinux"u8.ToArray()));

        private static byte[] Xz(byte[] bytes)
        {
            using var folder = new TemporaryFolder();
            File.WriteAllBytes(folder.File("f"), bytes);
            CpioArchiveTests.Run(folder.Path, "xz", "f");
            return File.ReadAllBytes(folder.File("f.xz"));
        }
    }
}
