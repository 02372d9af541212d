using System.Text;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.Recording;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Debugger.NonStop.Trampolines;

/// <summary>A record that was copied out, beside what the stub said when the machine stood at the same entry.</summary>
internal sealed class StopComparison(TracedGuest guest)
{
    private static readonly int[] X86_64Numbers = [X86_64.Rax, X86_64.Rcx, X86_64.Rdx, X86_64.Rbx, X86_64.Rsp, X86_64.Rbp, X86_64.Rsi, X86_64.Rdi, 8, 9, 10, 11, 12, 13, 14, 15];
    private const ulong ResumeFlag = 1 << 16;
    private const uint Reschedule = 0x8000_0000;

    private readonly HitCapture _capture = new(guest.Client, guest.Map, guest.Target.Memory.Ram);
    private readonly List<byte[]> _records = [];

    public bool Is64Bit => guest.Offsets.Is64Bit;

    private int[] Numbers => Is64Bit ? X86_64Numbers : [0, 1, 2, 3, 4, 5, 6, 7];

    /// <summary>Stops at the next entry of one of the functions, lets the trampoline run, and compares.</summary>
    /// <param name="sites">By entry: where the trampoline returns to.</param>
    /// <param name="resume">What lets the guest run on; null: just that.</param>
    /// <returns>The function and the number of its windows; null when the machine ended.</returns>
    public async Task<(string Function, int Windows)?> NextAsync(IReadOnlyDictionary<ulong, ulong> sites, Func<Task>? resume = null)
    {
        var client = guest.Client;
        foreach (var entry in sites.Keys)
        {
            await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, entry));
        }

        await (resume?.Invoke() ?? client.ContinueAsync().AsTask());
        if (await WaitAsync() is not StopReply.Stopped stop)
        {
            return null;
        }

        foreach (var entry in sites.Keys)
        {
            await client.SendAsync(new RemoveBreakpoint(BreakpointKind.Software, entry));
        }

        var capture = await _capture.TakeAsync(stop, default);
        var before = capture.Registers.Clone();
        var site = sites[before.ProgramCounter];
        _records.Clear();
        await client.StepAsync(stop.Thread);
        Assert.IsType<StopReply.Stopped>(await WaitAsync());
        var after = await RunToSiteAsync(site, capture.Cpu, before.StackPointer);
        foreach (var number in Numbers.Append(guest.Map.Image.Architecture.Flags))
        {
            Assert.True((before[number] & ~ResumeFlag) == (after[number] & ~ResumeFlag), $"{before.Architecture.RegisterNames[number]} was {before[number]:x} and is {after[number]:x}");
        }

        for (var tries = 0; Find() < 0; tries++)
        {
            // Another CPU stands between its reservation and its commit: what was reserved behind it is read when it has gone on.
            Assert.True(tries < 200, "the record does not come");
            await client.ContinueAsync();
            await Task.Delay(2);
            await client.InterruptAsync();
            Assert.IsType<StopReply.Stopped>(await WaitAsync());
        }

        var found = Find();
        return (NameOf(_records[found]), Compare(_records[found], capture, before));

        int Find() => _records.FindIndex(bytes => FieldsOf(bytes) == (site, before.StackPointer, (uint)capture.Cpu));

        static (ulong Site, ulong StackPointer, uint Cpu) FieldsOf(byte[] bytes)
        {
            Assert.True(RingRecord.TryRead(bytes, out var record));
            return (record.Site, record.StackPointer, record.Cpu);
        }
    }

    /// <summary>Reads the ring meanwhile: a guest whose ring is full waits.</summary>
    private async Task<StopReply> WaitAsync()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        var stop = guest.Client.WaitForStopAsync(patience.Token).AsTask();
        while (true)
        {
            // What is complete at the stop is read behind it.
            var isLast = stop.IsCompleted;
            guest.Memory.Reader.Read(int.MaxValue, record => _records.Add(Copy(record)));
            if (_records.Count > 10_000)
            {
                _records.RemoveRange(0, 5_000);
            }

            if (isLast)
            {
                break;
            }

            await Task.WhenAny(stop, Task.Delay(1));
        }

        return stop.IsCompletedSuccessfully ? await stop : throw new TimeoutException($"no stop; {guest.Memory.Reader.Fill} bytes in the ring, {guest.Memory.Reader.Waits} waits; {guest.Console[^Math.Min(guest.Console.Length, 600)..]}");
    }

    private string NameOf(byte[] bytes)
    {
        Assert.True(RingRecord.TryRead(bytes, out var record));
        return guest.NameOf(record)!;
    }

    private static byte[] Copy(in RingRecord record) => record.Bytes.ToArray();

    private async Task<RegisterSet> RunToSiteAsync(ulong site, int cpu, ulong stackPointer)
    {
        var client = guest.Client;
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, site));
        while (true)
        {
            await client.ContinueAsync();
            var stop = Assert.IsType<StopReply.Stopped>(await WaitAsync());
            var registers = await guest.Target.Machine.RegistersAsync();
            if (guest.Target.Machine.StoppedCpu == cpu && registers.StackPointer == stackPointer)
            {
                await client.SendAsync(new RemoveBreakpoint(BreakpointKind.Software, site));
                return registers;
            }

            // Another CPU, or another call of it.
            await client.StepAsync(stop.Thread);
            await WaitAsync();
        }
    }

    /// <returns>How many windows it has.</returns>
    private int Compare(byte[] bytes, StopCapture capture, RegisterSet before)
    {
        Assert.True(RingRecord.TryRead(bytes, out var record));
        var number = 0;
        foreach (var register in Numbers)
        {
            Assert.Equal(before[register], record.Register(number++));
        }

        // The trampoline runs before anything else can; only the resume flag is the processor's own matter.
        Assert.Equal((uint)(before[guest.Map.Image.Architecture.Flags] & ~ResumeFlag), record.Flags & ~(uint)ResumeFlag);
        Assert.Equal((uint)capture.Cpu, record.Cpu);
        Assert.Equal(capture.Task!.Address, record.Task);
        Assert.Equal((capture.Task.Pid, capture.Task.ThreadGroup), ((int)record.Pid, (int)record.ThreadGroup));
        Assert.Equal(capture.Task.IsKernelThread, (record.TaskFlags & 0x0020_0000) != 0 || record.Pid == 0);
        var comm = record.Comm;
        Assert.Equal(capture.Task.Comm, Encoding.UTF8.GetString(comm[..comm.IndexOf((byte)0)]));
        
        // An interrupt that was due at the stop comes before the trampoline's second instruction, and may ask for another task.
        Assert.Equal(capture.Context!.Preempt.Raw | Reschedule, record.PreemptCount | Reschedule);
        Assert.NotEqual(0ul, record.Clock);

        // The stack that was copied gives the path that the machine's memory gives.
        var windows = new Windows();
        for (var index = 0; index < record.WindowCount; index++)
        {
            windows.Add(record.Window(index, out var address, out var isCut).ToArray(), address);
            Assert.False(isCut);
        }

        var start = before.Clone();
        var fromRecord = StackUnwinder.Unwind(start, windows, guest.Map.Unwind);
        Assert.Equal(capture.Stack.Frames.Select(f => f.ProgramCounter), fromRecord.Frames.Select(f => f.ProgramCounter));

        // An interrupt may have come at the trampoline's first instructions: there the walk ends, as unwind rows know nothing of them.
        var layout = guest.Memory.Layout;
        if (fromRecord.Frames[^1].ProgramCounter - layout.Code >= (ulong)layout.CodeSize)
        {
            Assert.Equal(capture.Stack.Stop.GetType(), fromRecord.Stop.GetType());
        }

        return windows.Count;
    }

    /// <summary>Memory of which only windows are known.</summary>
    private sealed class Windows : IMemoryReader
    {
        private readonly List<(ulong Address, byte[] Bytes)> _all = [];

        public int Count => _all.Count;

        public void Add(byte[] bytes, ulong address) => _all.Add((address, bytes));

        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            foreach (var (start, bytes) in _all)
            {
                if (address >= start && address - start <= (ulong)bytes.Length && (ulong)bytes.Length - (address - start) >= (ulong)destination.Length)
                {
                    bytes.AsSpan((int)(address - start), destination.Length).CopyTo(destination);
                    return MemoryReadResult.Ok;
                }
            }

            return MemoryReadResult.NotFetched;
        }
    }
}
