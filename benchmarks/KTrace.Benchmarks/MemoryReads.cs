using System.Diagnostics;
using System.Globalization;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Memory;
using KTrace.Rsp;
using KTrace.Symbols.Arch;

namespace KTrace.Benchmarks;

/// <summary>The same reads of one stopped guest by both ways, in turns: out of mapped RAM, and through the stub.</summary>
internal static class MemoryReads
{
    // Without KASLR the direct map begins here (Documentation/arch/x86/x86_64/mm.rst, four levels), and is there once memory is set up.
    private const ulong DirectMap = 0xffff_8880_0000_0000;
    private const string Ready = "Unable to mount root fs";
    private const int Rounds = 5;

    /// <summary>Prints "name nanoseconds-by-the-stub nanoseconds-mapped" lines: medians of rounds, of one read each.</summary>
    public static async Task RunAsync(string kernel)
    {
        var image = Directory.GetFiles(Path.Combine(kernel, "boot"), "vmlinuz-*").Single();
        var scenario = new Scenario { Name = "memory", Append = "console=ttyS0 nokaslr" };
        await using var qemu = await QemuProcess.StartAsync(QemuCommandLine.For(scenario, image, null));
        var options = new MachineOptions { RamFile = qemu.RamFile };
        await using var machine = await Machine.ConnectAsync(RspEndpoint.Parse("unix:" + qemu.GdbSocket), X86_64.Instance, options);
        await machine.Client.ContinueAsync();
        if (!await qemu.Console.WaitForAsync(Ready).WaitAsync(TimeSpan.FromMinutes(2)))
        {
            throw new InvalidOperationException("the kernel did not come up: " + qemu.Console.Tail);
        }

        await machine.Client.InterruptAsync();
        await machine.Client.WaitForStopAsync();
        var stub = new GuestMemory(machine.Client, 8);
        if (machine.Memory.Ram is null)
        {
            throw new InvalidOperationException("this QEMU's RAM cannot be mapped");
        }

        // One that does not reach into the page behind the stack.
        var stack = (await machine.RegistersAsync()).StackPointer & ~2047UL;
        await CompareAsync("64MiB", 64 << 20, 1, _ => DirectMap, stub, machine.Memory);
        await CompareAsync("4KiB", 4096, 1000, Anywhere, stub, machine.Memory);
        await CompareAsync("16B", 16, 1000, Anywhere, stub, machine.Memory);
        await CompareAsync("stack", 2048, 1000, _ => stack, stub, machine.Memory);
        await CompareAsync("8B", 8, 1000, _ => stack, stub, machine.Memory);
    }

    /// <summary>A place in the first 64 MiB that is another one each time, and the same in each round.</summary>
    private static ulong Anywhere(int repetition) => DirectMap + ((ulong)repetition * 2_654_435_761 % (64 << 20) & ~15UL);

    private static async Task CompareAsync(string name, int length, int repetitions, Func<int, ulong> place, GuestMemory stub, GuestMemory mapped)
    {
        var (byStub, byMap) = (new byte[length], new byte[length]);
        var (stubTimes, mappedTimes) = (new List<double>(), new List<double>());
        for (var round = 0; round < Rounds; round++)
        {
            stubTimes.Add(await MeasureAsync(stub, byStub, repetitions, place));
            mappedTimes.Add(await MeasureAsync(mapped, byMap, repetitions, place));
            if (!byStub.AsSpan().SequenceEqual(byMap))
            {
                throw new InvalidOperationException(name + ": both ways differ");
            }
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name} {stubTimes.Order().ElementAt(Rounds / 2):F0} {mappedTimes.Order().ElementAt(Rounds / 2):F0}"));
    }

    private static async Task<double> MeasureAsync(GuestMemory memory, byte[] bytes, int repetitions, Func<int, ulong> place)
    {
        var started = Stopwatch.GetTimestamp();
        for (var i = 0; i < repetitions; i++)
        {
            if (!(await memory.ReadAsync(place(i), bytes, default)).IsComplete)
            {
                throw new InvalidOperationException($"0x{place(i):x} cannot be read");
            }
        }

        return Stopwatch.GetElapsedTime(started).TotalNanoseconds / repetitions;
    }
}
