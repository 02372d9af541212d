using KTrace.Boot.Scenarios;
using KTrace.Debugger.Memory;
using KTrace.Rsp;
using KTrace.Symbols.Arch;
using KTrace.Tests.Boot;

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

    [Fact]
    public async Task What_is_mapped_outlives_its_QEMU_and_reading_it_after_its_end_is_no_crash()
    {
        var machine = await MappedMachine.StartAsync(X86_64.Instance, new Scenario { Memory = 32 });
        var ram = machine.Machine.Memory.Ram!;
        await machine.Client.WriteMemoryAsync(0x5000, "still here"u8.ToArray());
        await machine.Qemu.KillAsync();

        var bytes = new byte[32 << 20];
        Assert.Equal(0xa0000, ram.Read(0, bytes));
        Assert.Equal("still here"u8, bytes.AsSpan(0x5000, 10));
        Assert.Equal(31 << 20, ram.Read(1 << 20, bytes));

        await machine.DisposeAsync();
        Assert.Throws<ObjectDisposedException>(() => ram.TryRead(0, bytes.AsSpan(0, 1)));
        ram.Dispose();
    }

    [Fact]
    public async Task Memory_is_read_through_the_stub_once_the_guest_runs_or_QEMU_is_gone()
    {
        await using var machine = await MappedMachine.StartAsync(X86_64.Instance, new Scenario { Memory = 32 });
        var bytes = new byte[8];
        await machine.Client.ContinueAsync();
        Assert.Equal(RspErrorKind.WrongState, (await Assert.ThrowsAsync<RspException>(() => machine.Machine.Memory.ReadAsync(0, bytes, default).AsTask())).Kind);
        await machine.Client.InterruptAsync();
        await machine.Client.WaitForStopAsync();
        Assert.True(await machine.Machine.Memory.TryReadAsync(0, bytes, default));
        await machine.Qemu.KillAsync();
        await Assert.ThrowsAsync<RspException>(() => machine.Machine.Memory.ReadAsync(0xa0000, bytes, default).AsTask());
    }

    [Fact]
    public async Task What_is_written_into_mapped_RAM_is_what_the_guest_has()
    {
        await using var machine = await MappedMachine.StartAsync(X86_64.Instance, new Scenario { Memory = 32 });
        using (var readOnly = (await MappedRam.TryOpenAsync(machine.Qemu.RamFile, machine.Client))!)
        {
            Assert.Throws<InvalidOperationException>(() => readOnly.TryWrite(0, "x"u8));
        }

        using var ram = (await MappedRam.TryOpenAsync(machine.Qemu.RamFile, machine.Client, FileAccess.ReadWrite))!;
        Assert.True(ram.TryWrite(0x5000, "by the map"u8));
        Assert.False(ram.TryWrite(0x9fffc, "over the edge"u8));
        Assert.False(ram.TryWrite(0xb8000, "not RAM"u8));
        var bytes = new byte[10];
        await machine.Client.ReadMemoryAsync(0x5000, bytes);
        Assert.Equal("by the map"u8, bytes);
    }

    [Fact]
    public void A_file_that_can_be_cut_short_is_not_mapped()
    {
        using var folder = new TemporaryFolder();
        Assert.Null(MappedRam.TryMap(folder.Write("ram", new string('x', 8192))));
        Assert.Null(MappedRam.TryMap(folder.File("not there")));
        Assert.Null(MappedRam.TryMap("/proc/self/mem"));
        Assert.Null(MappedRam.TryMap("/dev/null"));
        Assert.Null(MappedRam.TryMap(folder.Path));
    }

    [Fact]
    public async Task Where_QEMU_shares_no_RAM_everything_is_read_through_the_stub()
    {
        await using var machine = await MappedMachine.StartAsync(X86_64.Instance, new Scenario { Memory = 32 }, "-m", "48M");
        Assert.Null(machine.Qemu.RamFile);
        Assert.Null(machine.Machine.Memory.Ram);
        Assert.True(await machine.Machine.Memory.TryReadAsync(0xffff0, new byte[16], default));
    }

    [Theory]
    [InlineData("")]
    [InlineData("FlatView #0\n AS \"I/O\", root: io\n  0000000000000000-000000000009ffff (prio 0, ram): pc.ram\n")]
    [InlineData("FlatView #0\n AS \"cpu-memory-0\", root: system\n  0000000000000000-000000000009ffff (prio 0, ram): pc.rom\n")]
    [InlineData("FlatView #0\n AS \"cpu-memory-0\", root: system\n  0000000000000000-000000000009ffff (prio 0, rom): pc.ram\n")]
    [InlineData("FlatView #0\n AS \"cpu-memory-0\", root: system\n  0000000000000000-ffffffffffffffff (prio 0, ram): pc.ram\n")]
    [InlineData("FlatView #0\n AS \"cpu-memory-0\", root: system\n  0000000000200000-0000000000100000 (prio 0, ram): pc.ram\n")]
    [InlineData("FlatView #0\n AS \"cpu-memory-0\", root: system\n  0000000000100000-00000000001fffff (prio 0, ram): pc.ram @fffffffffff00000\n")]
    [InlineData("FlatView #0\n AS \"cpu-memory-0\", root: system\n  0000000000100000-00000000001fffff (prio 0, ram): pc.ram @0000000000f00001\n")]
    public void A_memory_map_that_names_no_RAM_or_more_than_the_file_has_is_not_believed(string text) => Assert.Empty(RamLayout.Parse(text, "pc.ram", 16 << 20));

    [Fact]
    public void What_chipsets_hide_and_show_between_640_KiB_and_1_MiB_is_left_out()
    {
        const string text = """
            FlatView #0
             AS "cpu-smm-0", root: smm
              0000000000000000-0000000000ffffff (prio 0, ram): pc.ram
            FlatView #1
             AS "memory", root: system
             AS "cpu-memory-0", root: memory
             Root memory region: memory
              0000000000000000-00000000000bffff (prio 0, ram): pc.ram KVM
              00000000000c0000-00000000000c7fff (prio 1, ram): pc.ram @00000000000c0000
              00000000000f0000-0000000000efffff (prio 0, ram): pc.ram @00000000000f0000 KVM

            """;
        Assert.Equal([new RamRange(0, 0xa0000, 0), new RamRange(0x100000, 0xf00000, 0x100000)], RamLayout.Parse(text, "pc.ram", 16 << 20).ToArray());
    }
}
