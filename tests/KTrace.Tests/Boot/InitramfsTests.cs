using KTrace.Boot;
using KTrace.Boot.Images;
using KTrace.Boot.Kernels;
using KTrace.Tests.Support;

namespace KTrace.Tests.Boot;

public sealed class InitramfsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    internal static KernelFiles Stock => new(
        StockKernel.Release, StockKernel.Vmlinuz, StockKernel.Vmlinux, Path.Combine(StockKernel.Root, "lib/modules", StockKernel.Release),
        Path.Combine(StockKernel.Root, "usr/lib/debug/lib/modules", StockKernel.Release), null);

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task The_same_description_gives_the_same_bytes()
    {
        var description = new InitramfsDescription { Modules = ["e1000e"], Files = [new(folder.Write("motd", "hello"), "/etc/motd", 0x124)] };
        var one = await Initramfs.BuildAsync(description, Stock, folder.File("1.gz"));
        await Task.Delay(1100);
        var two = await Initramfs.BuildAsync(description, Stock, folder.File("2.gz"));
        Assert.Equal(one.Sha256, two.Sha256);
        Assert.Equal(File.ReadAllBytes(one.Path), File.ReadAllBytes(two.Path));
        Assert.Equal(["e1000e"], one.Modules.ToArray());
        Assert.Equal(["1.gz", "2.gz", "motd"], Directory.EnumerateFiles(folder.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        var entries = InitramfsFile.List(one.Path).Entries.ToDictionary(entry => entry.Name);
        Assert.Equal((CpioType.CharacterDevice, 5u, 1u), (entries["dev/console"].Type, entries["dev/console"].DeviceMajor, entries["dev/console"].DeviceMinor));
        Assert.Equal("busybox", entries["bin/sh"].LinkTarget);
        Assert.Equal("-rwxr-xr-x", entries["init"].ModeText);
        Assert.Equal("-r--r--r--", entries["etc/motd"].ModeText);
        Assert.Equal((uint)new FileInfo(StockKernel.Module("e1000e")).Length, entries["lib/modules/e1000e.ko"].Size);
        Assert.All(entries.Values, entry => Assert.Equal((0u, 0u, 0u), (entry.ModificationTime, entry.UserId, entry.GroupId)));
    }

    [Fact]
    public async Task Modules_come_with_what_they_need_before_them()
    {
        // '-' and '_' are one character in a name; the file is bcm-phy-ptp.ko.
        var files = await ModuleIndex.Open(Path.Combine(StockKernel.Root, "lib/modules", StockKernel.Release)).ResolveAsync(["bcm_phy_ptp", "macvtap", "macvtap", "e1000e"]);
        var names = files.Select(file => file.Name).ToList();
        Assert.Equal(names.Distinct(), names);
        Assert.True(names.IndexOf("bcm_phy_lib") < names.IndexOf("bcm_phy_ptp"));
        Assert.True(names.IndexOf("libphy") < names.IndexOf("bcm_phy_lib"));
        Assert.True(names.IndexOf("tap") < names.IndexOf("macvtap"));
        Assert.All(new[] { "e1000e", "libphy", "tap", "macvlan", "macvtap" }, name => Assert.Contains(name, names));
    }

    [Fact]
    public async Task A_modules_dep_that_goes_in_circles_or_out_of_the_folder_is_survived()
    {
        foreach (var name in new[] { "a", "b" })
        {
            File.WriteAllBytes(folder.Write($"m/{name}.ko", ""), DebBuilder.Module("depends="));
        }

        folder.Write("outside.ko", "");
        folder.Write("m/modules.dep", "a.ko: b.ko\nb.ko: a.ko\n../outside.ko:\nnonsense\n:\nnot-there.ko: a.ko\n");
        var index = ModuleIndex.Open(folder.File("m"));
        Assert.Equal(["a", "b"], (await index.ResolveAsync(["a"])).Select(file => file.Name).Order(StringComparer.Ordinal));
        Assert.Null(index.Find("outside"));
        Assert.Contains("not in", (await Assert.ThrowsAsync<BootException>(() => index.ResolveAsync(["not-there"]))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Modinfo_names_what_must_and_what_should_come_before()
    {
        var notes = ModInfo.Parse("license=GPL\0depends=jbd2,mbcache,crc-16\0softdep=pre: crc32c foo-bar post: later\0"u8);
        Assert.Equal(["jbd2", "mbcache", "crc_16"], notes.Depends.ToArray());
        Assert.Equal(["crc32c", "foo_bar"], notes.SoftBefore.ToArray());
    }

    [Fact]
    public async Task Mutated_modules_give_only_declared_errors()
    {
        var good = DebBuilder.Module("depends=a,b", "softdep=pre: c");
        var path = folder.File("m.ko");
        var random = new Random(20261122);
        var read = 0;
        for (var round = 0; round < 2000; round++)
        {
            var bytes = (byte[])good.Clone();
            for (var change = random.Next(1, 4); change > 0; change--)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            File.WriteAllBytes(path, random.Next(4) == 0 ? bytes[..random.Next(bytes.Length)] : bytes);
            try
            {
                await ModInfo.ReadAsync(path, default);
                read++;
            }
            catch (BootException)
            {
                // The declared one.
            }
        }

        Assert.True(read > 100, "the mutations destroy everything: the test tests nothing");
    }

    [Fact]
    public async Task A_busybox_that_needs_a_dynamic_linker_is_refused_with_the_packages_name()
    {
        var error = await Assert.ThrowsAsync<BootException>(() => Initramfs.BuildAsync(new() { Busybox = "/bin/ls" }, null, folder.File("x")));
        Assert.Contains("dynamic linker", error.Message, StringComparison.Ordinal);
        Assert.Contains("busybox-static", error.Remedy, StringComparison.Ordinal);
        error = await Assert.ThrowsAsync<BootException>(() => Initramfs.BuildAsync(new() { Busybox = folder.Write("text", "x") }, null, folder.File("x")));
        Assert.Contains("not a program", error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(folder.File("x")));
    }

    [Fact]
    public async Task What_is_missing_is_named()
    {
        await RefusesAsync(new() { Modules = ["e1000f"] }, "no module e1000f");
        await RefusesAsync(new() { Files = [new("/no/such", "/x")] }, "/no/such");
        await RefusesAsync(new() { Files = [new("/bin/ls", "/../x")] }, "/../x");
        await RefusesAsync(new() { Steps = ["shel"] }, "shel");

        async Task RefusesAsync(InitramfsDescription description, string says) =>
            Assert.Contains(says, (await Assert.ThrowsAsync<BootException>(() => Initramfs.BuildAsync(description, Stock, folder.File("x")))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_generated_init_is_a_script_that_the_shell_can_parse()
    {
        var script = InitScript.Generate(["a.ko"], InitScript.Steps.Select(step => step.Name));
        CpioArchiveTests.Run(folder.Path, "busybox", "sh", "-n", folder.Write("init", script));
        CpioArchiveTests.Run(folder.Path, "busybox", "sh", "-n", folder.Write("dhcp", InitScript.DhcpScript));
        Assert.True(script.IndexOf("insmod /lib/modules/a.ko", StringComparison.Ordinal) < script.IndexOf("ifconfig eth0 up", StringComparison.Ordinal));
    }
}
