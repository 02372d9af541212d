using KTrace.Boot.Kernels;

namespace KTrace.Tests.Boot;

public sealed class KernelPlacesTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Named_build_trees_come_first_and_everything_that_is_there_is_listed_once()
    {
        var tree = folder.Write("tree/vmlinux", "");
        var package = folder.Write("root/usr/lib/debug/boot/vmlinux-6.1.0-9-test", "");
        var fedora = folder.Write("root/usr/lib/debug/lib/modules/6.2/vmlinux", "");
        var boot = folder.Write("root/boot/vmlinux-6.3", "");
        var built = folder.Write("root/lib/modules/6.4/build/vmlinux", "");
        folder.Write("root/lib/modules/6.5/modules.dep", "");
        folder.Write("root/boot/vmlinuz-6.6", "");
        var root = folder.File("root");

        var places = KernelPlaces.All(new KernelStore(folder.File("cache"), root, null), [folder.File("tree"), folder.File("no-tree"), folder.File("tree")], root);

        Assert.Equal([tree, package, fedora, boot, built], places.Vmlinux);
        Assert.Contains(Path.Combine(root, "usr/lib/debug/.build-id"), places.ByBuildId);
        Assert.Contains(places.ByBuildId, place => place.EndsWith("/debuginfod_client", StringComparison.Ordinal));
    }

    [Fact]
    public void Modules_are_looked_for_in_the_tree_of_a_build_and_below_the_root_of_a_package()
    {
        var vmlinux = folder.Write("tree/vmlinux", "");
        folder.Write("tree/modules.order", "");
        Assert.Equal([folder.File("tree")], KernelPlaces.ModulesBeside(vmlinux, "9.9-none"));

        var package = folder.Write("R/usr/lib/debug/boot/vmlinux-R", "");
        folder.Write("R/lib/modules/R/modules.dep", "");
        folder.Write("R/usr/lib/debug/lib/modules/R/x.ko", "");
        Assert.Equal([folder.File("R/lib/modules/R"), folder.File("R/usr/lib/debug/lib/modules/R")], KernelPlaces.ModulesBeside(package, "R"));
        Assert.Empty(KernelPlaces.ModulesBeside(package, "../R"));
        Assert.Empty(KernelPlaces.ModulesBeside(package, null));
    }
}
