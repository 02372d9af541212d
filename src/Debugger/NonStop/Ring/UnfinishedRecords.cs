// When the machine stops, a CPU may stand in a trampoline between the reservation of its record and the commit; what other CPUs wrote behind it cannot be read before it is complete. A stop's own hit would then come
// before calls that were made long before it, on its own CPU even. So the CPU in the trampoline is let run alone, to the end of its record: at most some thousand instructions with interrupts off, which wait for
// nobody, as there is room reserved. The others do not move. Everything that has its place in the ring is then in the trace before the stop's hit.
//
// Numbering hits by their clocks would not do: a stop has no time-stamp of its own (the stub knows no such register), and hits with the same number of ticks would have to be put in order after they were written.
using KTrace.Debugger.NonStop.Trampolines;

namespace KTrace.Debugger.NonStop.Ring;

/// <summary>Completes records that CPUs were writing when the machine stopped.</summary>
internal sealed class UnfinishedRecords(Machine machine, RingReader reader, IReadOnlyList<CodeBlock> code)
{
    // Behind an NMI's handler, or in a guest that scribbles: then the record stays unfinished for this stop.
    private const int MaximumRounds = 2;

    private static readonly TimeSpan Limit = TimeSpan.FromMilliseconds(200);

    /// <summary>CPUs that were let run to the end of their record.</summary>
    public long Finished { get; private set; }

    /// <summary>Stops at which a record stayed unfinished.</summary>
    public long Left { get; private set; }

    /// <summary>The machine stands, and what is complete was read.</summary>
    /// <param name="read">Reads what has become complete.</param>
    public async ValueTask FinishAsync(Action read, CancellationToken cancellationToken)
    {
        if (reader.Fill == 0)
        {
            return;
        }

        var stopped = machine.StoppedCpu;
        var count = (await machine.ThreadsAsync(cancellationToken)).Count;
        for (var round = 0; round < MaximumRounds && reader.Fill > 0; round++)
        {
            // Who waits for room has none reserved: last.
            var inside = new List<(int Cpu, ulong Done, bool Waits)>();
            await machine.ReadAllRegistersAsync(cancellationToken);
            for (var cpu = 0; cpu < count; cpu++)
            {
                var pc = (await machine.RegistersAsync(cpu, cancellationToken)).ProgramCounter;
                if (code.FirstOrDefault(b => b.Contains(pc)) is { } block && block.MayHoldRecord(pc))
                {
                    var done = block.Address + (ulong)block.Done;
                    inside.Add((cpu, done, pc > done));
                }
            }

            foreach (var (cpu, done, _) in inside.OrderBy(i => i.Waits))
            {
                if (reader.Fill == 0)
                {
                    break;
                }

                Finished += await machine.RunAloneAsync(cpu, done, Limit, this, cancellationToken) ? 1 : 0;
                read();
            }
        }

        Left += reader.Fill > 0 ? 1 : 0;
        await machine.MeanAsync(stopped, cancellationToken);
    }
}
