using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger.Phases;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Cli;
using KTrace.Tests.Debugger.Memory;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.Phases;

/// <summary>Every way in which an arriving kernel is caught, each on a real boot with KASLR. The build id in guest memory proves the slide.</summary>
[Collection(nameof(BootsCollection))]
public sealed class KernelArrivalTests
{
    [Theory]
    [InlineData(ArrivalWays.WatchedRange, null)]
    [InlineData(ArrivalWays.WatchedRange, "max")]
    [InlineData(ArrivalWays.WatchedParameters, null)]
    [InlineData(ArrivalWays.WatchedParameters, "max")]
    public async Task The_kernel_is_caught_in_copy_bootdata_wherever_it_was_put(ArrivalWays ways, string? cpu)
    {
        var (location, sites) = await ArriveAsync(ways, cpu);
        Assert.Equal((BootPhase.Kernel, "copy_bootdata", 0), (location.Phase, location.Map!.Symbolize(location.LinearPc)[^1].Function, sites));
    }

    [Fact]
    public async Task Where_nothing_can_be_watched_the_kernel_is_found_by_looking()
    {
        var (location, sites) = await ArriveAsync(ArrivalWays.Looking, null);
        Assert.NotNull(location.Map);
        Assert.Equal(0, sites);
    }

    private static async Task<(PhaseLocation Location, int Sites)> ArriveAsync(ArrivalWays ways, string? cpu)
    {
        var image = KernelImage.Open(StockKernel.Vmlinux);
        var scenario = new Scenario { Append = "console=ttyS0", Cpu = cpu };
        await using var guest = await MappedMachine.StartAsync(image.Architecture, QemuCommandLine.For(scenario, StockKernel.Vmlinuz, null));
        var slide = await new KernelArrival(guest.Machine, image) { Ways = ways }.WaitAsync(default).WaitAsync(TimeSpan.FromMinutes(2));
        Assert.Equal(0UL, slide % (2 << 20));
        return (await new BootPhases(image, BootCode.None) { Kernel = new KernelMap(image, slide) }.LocateAsync(guest.Machine), guest.Machine.Sites.All.Count);
    }
}
