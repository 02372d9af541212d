using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Boot;
using KTrace.Boot.Images;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Memory;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Boot;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.Memory;

/// <summary>
/// Real boots, stopped in every phase; memory is read out of mapped RAM and by QEMU's stub, and addresses are translated by us and by QEMU's monitor. What is
/// mapped in the guest, and so what is worth reading, the monitor says as well.
/// </summary>
[Collection(nameof(BootsCollection))]
public sealed partial class MappedBootTests(ITestOutputHelper output)
{
    private const string Busy = "echo READY\nwhile :; do cat /init > /dev/null; ls -lR /sys/class > /dev/null; done\n";

    private readonly Random _random = new(20261121);
    private int _translations;

    [Fact]
    public async Task Both_ways_read_the_same_from_reset_to_user_space_with_four_levels_of_page_tables() =>
        await RunAsync(OracleKernel.Package(StockKernel.Root, StockKernel.Release), "pti=on", cpus: 2, cpu: null, PagingKind.FourLevels, stops: 6);

    [Fact]
    public async Task Both_ways_read_the_same_with_five_levels_of_page_tables() =>
        await RunAsync(OracleKernel.Package(StockKernel.Root, StockKernel.Release), "pti=off", cpus: 1, cpu: "qemu64,+la57", PagingKind.FiveLevels, stops: 6);

    [Fact]
    public async Task The_guest_does_not_notice_that_its_RAM_is_shared()
    {
        using var cache = new TemporaryFolder();
        var scenario = new Scenario
        {
            Kernel = new KernelChoice { Image = StockKernel.Vmlinuz, Vmlinux = StockKernel.Vmlinux },
            Initramfs = new InitramfsChoice
            {
                Build = new InitramfsDescription
                {
                    Script = """
                        #!/bin/sh
                        export PATH=/bin:/sbin
                        mount -t proc proc /proc
                        dmesg | grep -E 'BIOS-|Memory:|ACPI: [A-Z]{4} 0x'
                        cat /proc/iomem
                        echo READY
                        poweroff -f

                        """,
                },
            },
            Append = "console=ttyS0 quiet printk.time=0",
        };
        var line = (await PreparedBoot.PrepareAsync(scenario, new KernelStore(cache.Path))).CommandLine;
        Assert.NotNull(line.SharedRam);
        var shared = await MapOfAsync(line);
        Assert.Contains("System RAM", shared, StringComparison.Ordinal);
        Assert.Contains("BIOS-e820", shared, StringComparison.Ordinal);
        Assert.Equal(await MapOfAsync(line with { SharedRam = null }), shared);
    }

    private static async Task<string> MapOfAsync(QemuCommandLine line)
    {
        await using var qemu = await QemuProcess.StartAsync(line);
        await qemu.ContinueAsync();
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        Assert.True(await qemu.Console.WaitForAsync("READY", patience.Token), qemu.Console.Tail);

        // The kernel's own place is a random one in each boot (KASLR); the firmware speaks first, and clears the screen.
        return string.Join('\n', qemu.Console.Tail.Split('\n').Where(text => (text.Contains("[mem ", StringComparison.Ordinal) || text.Contains(" : ", StringComparison.Ordinal)
            || text.Contains("ACPI: ", StringComparison.Ordinal)) && !text.Contains("Kernel ", StringComparison.Ordinal)));
    }

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("tree:tiny32", PagingKind.TwoLevels)]
    [InlineData("tree:pae32", PagingKind.Pae)]
    public async Task Both_ways_read_the_same_on_i386(string kernel, PagingKind kind) =>
        await RunAsync(OracleKernels.Open(kernel), "", cpus: 1, cpu: null, kind, stops: 12);

    private async Task RunAsync(OracleKernel kernel, string append, int cpus, string? cpu, PagingKind expected, int stops)
    {
        using var cache = new TemporaryFolder();
        string[] modules = kernel.Modules is null ? [] : ["e1000e"];
        var scenario = new Scenario
        {
            Kernel = new KernelChoice { Image = kernel.Image, Vmlinux = kernel.Vmlinux, Modules = kernel.Modules, DebugModules = kernel.DebugModules },
            Initramfs = new InitramfsChoice
            {
                Build = new InitramfsDescription
                {
                    Modules = [.. modules],
                    Script = "#!/bin/sh\nexport PATH=/bin:/sbin:/usr/bin:/usr/sbin\nmount -t proc proc /proc\nmount -t sysfs sysfs /sys\n"
                        + string.Concat(modules.Select(m => $"insmod $(find /lib/modules -name '{m}.ko*')\n")) + Busy,
                    Busybox = kernel.Busybox,
                },
            },
            Append = "console=ttyS0 quiet " + append,
            Architecture = kernel.Architecture,
            Cpus = cpus,
            Cpu = cpu,
        };
        var boot = await PreparedBoot.PrepareAsync(scenario, new KernelStore(cache.Path));
        var architecture = Architecture.ForName(kernel.Architecture)!;
        await using var guest = await MappedMachine.StartAsync(architecture, boot.CommandLine);
        var both = new TwoWays(guest.Machine);
        Assert.NotNull(guest.Machine.Memory.Ram);

        // The reset vector, and the kernel's first instruction in protected mode (boot protocol: the 32-bit entry is at 0x100000).
        await CompareLowMemoryAsync(guest, both);
        await RunToAsync(guest, 0x100000);
        await CompareLowMemoryAsync(guest, both);
        Assert.Equal(PagingKind.Off, (await ModeAsync(guest, 0)).Kind);

        var target = await KernelTarget.IdentifyAsync(guest.Machine, KernelImage.Open(kernel.Vmlinux), null, default);
        await CompareMappedAsync(guest, both, target.Map, 0, 100);

        var kinds = new HashSet<PagingKind>();
        var privileges = new HashSet<ulong>();
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        await guest.Client.ContinueAsync(patience.Token);
        Assert.True(await guest.Qemu.Console.WaitForAsync("READY", patience.Token), guest.Qemu.Console.Tail);
        for (var stop = 0; stop < stops; stop++)
        {
            await Task.Delay(_random.Next(1, 50), patience.Token);
            await guest.Client.InterruptAsync(patience.Token);
            await guest.Client.WaitForStopAsync(patience.Token);
            for (var index = 0; index < cpus; index++)
            {
                kinds.Add((await ModeAsync(guest, index)).Kind);
                privileges.Add(await PrivilegeAsync(guest, index));
                await CompareMappedAsync(guest, both, target.Map, index, 80);
                await CompareKernelAsync(guest, both, target.Map, index);
            }

            var atStop = new StopMemory(guest.Client, guest.Machine.Memory.Ram);
            atStop.Enter(await guest.Machine.RegisterBlockAsync(cancellationToken: patience.Token));
            await guest.Client.ContinueAsync(patience.Token);
            Assert.Equal(MemoryReadResult.NotFetched, atStop.Read(target.Map.ToRunTime(target.Map.Image.KernelMapBase), new byte[1]));
        }

        await guest.Client.InterruptAsync(patience.Token);
        await guest.Client.WaitForStopAsync(patience.Token);
        output.WriteLine($"{both}; {_translations} translations; privilege levels {string.Join(", ", privileges.Order())}");
        Assert.Equal([expected], kinds);
        Assert.True(both is { ReadWhole: > 300, ReadInPart: > 10, Unreadable: > 10 }, both.ToString());
        Assert.True(_translations > 300);
    }


    private async Task CompareLowMemoryAsync(MappedMachine guest, TwoWays both)
    {
        ulong[] edges =
        [
            0, 0x400, 0x7c00, 0x9fff8, 0xa0000, 0xafffc, 0xc0000, 0xefff0, 0xfff00, 0x100000, 0x1ffff8, 0x200000, 0x1fffff00, 0x20000000,
            0xfec00000, 0xfed00000, 0xfee00000, 0xfffffff0,
        ];
        foreach (var address in edges)
        {
            await both.CompareAsync(address, 16);
            await both.ComparePhysicalAsync(address, 64);
        }

        for (var i = 0; i < 100; i++)
        {
            await both.CompareAsync((ulong)_random.NextInt64(0x2010_0000), _random.Next(1, 5000));
        }

        await both.CompareAsync(0x8f000, 0x90000);
    }

    /// <summary>
    /// Reads in and around what is mapped for the CPU, whatever it is: text, stacks, direct map, modules, vmalloc, devices' registers, programs.
    /// </summary>
    private async Task CompareMappedAsync(MappedMachine guest, TwoWays both, KernelMap map, int cpu, int count)
    {
        await guest.MonitorAsync(string.Create(CultureInfo.InvariantCulture, $"cpu {cpu}"));
        await guest.Machine.SelectAsync(cpu);
        var mode = await ModeAsync(guest, cpu);
        await guest.Machine.SelectAsync(cpu);

        // With five levels QEMU 7.2's list is empty early in boot, and does not end within a minute later.
        var ranges = mode.Kind == PagingKind.FiveLevels ? await KnownPlacesAsync(guest, map, cpu)
            : [.. MappedLine().Matches(await guest.MonitorAsync("info mem")).Select(m => (Number(m.Groups["start"].Value), Number(m.Groups["end"].Value)))];

        Assert.NotEmpty(ranges);
        var devices = ranges.Where(r => !IsRam(guest, r.Start, mode)).ToList();
        for (var i = 0; i < count; i++)
        {
            var (start, end) = i % 10 == 9 && devices.Count > 0 ? devices[_random.Next(devices.Count)] : ranges[_random.Next(ranges.Count)];
            var size = end > start ? end - start : 4096;
            var address = _random.Next(6) switch
            {
                0 => start - (ulong)_random.Next(1, 300),
                1 => end - (ulong)_random.Next(1, 300),
                2 => start + (ulong)_random.NextInt64((long)Math.Min(size, long.MaxValue) / 4096) * 4096 - (ulong)_random.Next(1, 8),
                3 => (ulong)_random.NextInt64(),
                _ => start + (ulong)_random.NextInt64((long)Math.Min(size, long.MaxValue)),
            };
            address &= mode.AddressMask;
            await both.CompareAsync(address, i % 20 == 0 ? _random.Next(4096, 70000) : _random.Next(1, 300));
            if (guest.Machine.Memory.Ram is { } ram)
            {
                var ours = PageTables.Translate(address, mode, ram);
                Assert.NotEqual(TranslationStatus.Unknown, ours.Status);
                Assert.Equal(await guest.TranslateAsync(address), ours.Status == TranslationStatus.Mapped ? ours.Physical : null);
                _translations++;
            }
        }
    }

    /// <summary>What a kernel debugger reads, and the same by the hot path's synchronous reader.</summary>
    private static async Task CompareKernelAsync(MappedMachine guest, TwoWays both, KernelMap map, int cpu)
    {
        var registers = await guest.Machine.RegistersAsync(cpu);
        var atStop = new StopMemory(guest.Client, guest.Machine.Memory.Ram);
        atStop.Enter(await guest.Machine.RegisterBlockAsync(cpu));
        await guest.Machine.SelectAsync(cpu);
        var (mapped, stub) = (new byte[16], new byte[16]);
        foreach (var address in (ulong[])[registers.StackPointer & ~15UL, registers.ProgramCounter & ~15UL, 0x10])
        {
            Assert.False(atStop.Want(address, mapped.Length), "what RAM answers is not fetched");
            var isThere = (await guest.Client.ReadMemoryAsync(address, stub)).IsComplete;
            Assert.Equal(isThere ? MemoryReadResult.Ok : MemoryReadResult.Unreadable, atStop.Read(address, mapped));
            Assert.True(!isThere || mapped.AsSpan().SequenceEqual(stub));
        }

        await both.CompareAsync(registers.StackPointer, 4096);
        await both.CompareAsync(registers.ProgramCounter, 16);
        foreach (var symbol in (string[])["_stext", "init_task", "jiffies_64", "linux_banner", "swapper_pg_dir", "idt_table", "_end"])
        {
            if (map.Image.TryFindSymbol(symbol, out var found))
            {
                await both.CompareAsync(map.ToRunTime(found.Value) - 5, 100);
            }
        }
    }

    /// <summary>
    /// Where a 64-bit kernel puts things (Documentation/arch/x86/x86_64/mm.rst), as far as it is told without a list: a few megabytes of each.
    /// </summary>
    private static async Task<List<(ulong Start, ulong End)>> KnownPlacesAsync(MappedMachine guest, KernelMap map, int cpu)
    {
        var registers = await guest.Machine.RegistersAsync(cpu);
        var places = new List<ulong>
        {
            map.ToRunTime(map.Image.KernelMapBase), 0xffff_ffff_c000_0000, 0xffff_ffff_ff5f_c000, registers.StackPointer & ~0x3fffUL, registers.ProgramCounter & ~0xfffUL,
        };
        foreach (var variable in (string[])["page_offset_base", "vmalloc_base", "vmemmap_base"])
        {
            if (map.Image.TryFindSymbol(variable, out var symbol) && await guest.Machine.Memory.TryReadWordAsync(map.ToRunTime(symbol.Value), default) is { } start)
            {
                places.Add(start);
            }
        }

        return [.. places.Select(place => (place, place + (4 << 20)))];
    }

    private static bool IsRam(MappedMachine guest, ulong address, PagingMode mode) =>
        guest.Machine.Memory.Ram is { } ram
        && PageTables.Translate(address, mode, ram) is { Status: TranslationStatus.Mapped, Physical: var physical } && ram.Contains(physical);

    private static async Task<PagingMode> ModeAsync(MappedMachine guest, int cpu) =>
        new PagingRegisters(guest.Client.Layout).Read(await guest.Machine.RegisterBlockAsync(cpu))!.Value;

    private static async Task<ulong> PrivilegeAsync(MappedMachine guest, int cpu)
    {
        var registers = await guest.Machine.RegistersAsync(cpu);
        return registers[registers.Architecture.CodeSegment] & 3;
    }

    private static async Task RunToAsync(MappedMachine guest, ulong address)
    {
        await guest.Client.SendAsync(new InsertBreakpoint(BreakpointKind.Hardware, address));
        await guest.Client.ContinueAsync();
        Assert.IsType<StopReply.Stopped>(await guest.Client.WaitForStopAsync());
        await guest.Client.SendAsync(new RemoveBreakpoint(BreakpointKind.Hardware, address));
    }

    private static ulong Number(string text) => ulong.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    [GeneratedRegex("^(?<start>[0-9a-f]{8,16})-(?<end>[0-9a-f]{8,16}) ", RegexOptions.Multiline)]
    private static partial Regex MappedLine();
}
