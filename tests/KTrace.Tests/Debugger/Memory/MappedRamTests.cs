using KTrace.Boot.Scenarios;
using KTrace.Debugger.Memory;
using KTrace.Rsp;
using KTrace.Symbols.Arch;

namespace KTrace.Tests.Debugger.Memory;

/// <summary>The RAM of real QEMUs, before their first instruction.</summary>
public sealed class MappedRamTests
{
    [Theory]
    [InlineData("q35", 512)]
    [InlineData("q35", 6144)]
    [InlineData("pc", 512)]
    [InlineData("pc", 6144)]
    [InlineData("microvm", 512)]
    [InlineData("microvm", 6144)]
    public async Task What_the_stub_writes_into_RAM_is_seen_there_wherever_the_machine_put_it(string name, int megabytes)
    {
        await using var machine = await MappedMachine.StartAsync(X86_64.Instance, new Scenario { Machine = name, Memory = megabytes });
        var ram = machine.Machine.Memory.Ram;
        Assert.NotNull(ram);

        // Everything but the 384 KiB in which chipsets play with windows (microvm, which has none of them, shows RAM in a part of it).
        Assert.Equal(((ulong)megabytes << 20) - (384 << 10), ram.Ranges.Aggregate(0UL, (sum, range) => sum + (range.End - range.Start)));
        Assert.Equal(megabytes > 4096, ram.Ranges[^1].Start == 1UL << 32);

        var random = new Random(megabytes);
        var places = ram.Ranges.SelectMany(range => new[]
        {
            range.Start, range.End - 8, range.Start + ((ulong)random.NextInt64((long)(range.End - range.Start) / 8) * 8),
        }).ToArray();
        await machine.Client.SetPhysicalMemoryModeAsync(true);
        foreach (var place in places)
        {
            await machine.Client.WriteMemoryAsync(place, BitConverter.GetBytes(place ^ 0x5555_aaaa));
        }

        await machine.Client.SetPhysicalMemoryModeAsync(false);
        var bytes = new byte[8];
        foreach (var place in places)
        {
            Assert.True(ram.TryRead(place, bytes));
            Assert.Equal(place ^ 0x5555_aaaa, BitConverter.ToUInt64(bytes));
        }

        foreach (var range in ram.Ranges)
        {
            Assert.False(ram.TryRead(range.End - 7, bytes));
            Assert.Equal(7, ram.Read(range.End - 7, bytes));
            Assert.Equal(0, ram.Read(range.End, bytes));
        }

        var both = new TwoWays(machine.Machine);
        foreach (var place in (ulong[])[.. places, 0xa0000, 0x9fff0, 0xc0000, 0xffff0, 0xfee00000, 0xffff_fff0])
        {
            await both.CompareAsync(place, 8);
            await both.ComparePhysicalAsync(place, 16);
        }
    }
}
