using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Tests.Support;

namespace KTrace.Tests.Boot;

/// <summary>The demo's guest, booted without a debugger.</summary>
public sealed class DemoBootTests
{
    [Fact]
    public async Task The_stock_kernel_with_our_initramfs_gets_a_lease_three_msix_vectors_and_powers_off()
    {
        using var cache = new TemporaryFolder();
        var scenario = ScenarioReader.ReadFile(Path.Combine(Repository.Root, "scenarios", "e1000e-msix.yaml")) with
        {
            Kernel = new KernelChoice
            {
                Image = StockKernel.Vmlinuz,
                Vmlinux = StockKernel.Vmlinux,
                Modules = Path.Combine(StockKernel.Root, "lib/modules", StockKernel.Release),
                DebugModules = Path.Combine(StockKernel.Root, "usr/lib/debug/lib/modules", StockKernel.Release),
            },
        };
        var boot = await PreparedBoot.PrepareAsync(scenario, new KernelStore(cache.Path));
        Assert.Equal(["e1000e"], boot.InitramfsModules.ToArray());
        Assert.Equal(await PreparedBoot.HashAsync(boot.InitramfsPath!), await PreparedBoot.HashAsync((await PreparedBoot.PrepareAsync(scenario, new KernelStore(cache.Path))).InitramfsPath!));

        await using var qemu = await QemuProcess.StartAsync(boot.CommandLine);
        await qemu.ContinueAsync();
        Assert.Equal(0, await qemu.Exited.WaitAsync(TimeSpan.FromMinutes(5)));
        await qemu.Console.Completed;
        var lines = await qemu.Console.Output.ReadAllAsync().Select(piece => piece.Text).ToListAsync();
        Assert.Equal("guest-shutdown", qemu.ShutdownReason);
        Assert.Contains(lines, line => line.Contains("Linux version " + StockKernel.Release, StringComparison.Ordinal));
        Assert.Contains("init: eth0 has 10.0.2.15", lines);
        foreach (var vector in new[] { "eth0-rx-0", "eth0-tx-0", "eth0" })
        {
            Assert.Contains(lines, line => line.Contains("PCI-MSI", StringComparison.Ordinal) && line.TrimEnd().EndsWith(" " + vector, StringComparison.Ordinal));
        }

        Assert.Contains("Power down", qemu.Console.LastLine, StringComparison.Ordinal);
        Assert.Equal(0, qemu.Console.Forgotten);
    }
}
