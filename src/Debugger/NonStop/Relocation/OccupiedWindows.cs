// Before the jump is written over several instructions, nobody may stand between them. With the machine stopped, a CPU's pc tells for what runs; what was interrupted there, and perhaps
// scheduled away since, has its pc in a pt_regs on some stack. A word that looks like such a pc may be anything; that costs a later try and nothing else. The tracer's no-op is one instruction, so
// that nobody can stand in it.
using System.Runtime.InteropServices;

namespace KTrace.Debugger.NonStop.Relocation;

/// <summary>
/// Finds functions whose first instructions are being executed at this moment. Ask for every CPU's pc and for every stack: of all tasks (16 KiB, 8 KiB on i386), and the interrupt and exception stacks of all CPUs. Those that are
/// found are patched at a later stop. When one CPU runs, with interrupts off since reset or in a function called by init_task alone, only its own stack matters.
/// </summary>
public sealed class OccupiedWindows
{
    private readonly Dictionary<ulong, ulong> _inside = [];
    private readonly int _wordSize;

    /// <param name="functions">Plans, and their functions' entries at run time.</param>
    public OccupiedWindows(IEnumerable<(RelocationPlan Plan, ulong Entry)> functions)
    {
        foreach (var (plan, entry) in functions)
        {
            _wordSize = plan.WordSize;
            foreach (var address in plan.Inside(entry))
            {
                _inside[plan.WordSize == 4 ? (uint)address : address] = entry;
            }
        }
    }

    /// <summary>The entry of the function that would be torn under a CPU; null: none.</summary>
    public ulong? At(ulong pc) => _inside.TryGetValue(pc, out var entry) ? entry : null;

    /// <summary>The entries of the functions that would be torn under what was interrupted and lies on a stack.</summary>
    /// <param name="stack">Its bytes, from a word's address on.</param>
    public IEnumerable<ulong> In(ReadOnlySpan<byte> stack)
    {
        var found = new HashSet<ulong>();
        for (var at = 0; _wordSize != 0 && at + _wordSize <= stack.Length; at += _wordSize)
        {
            if (At(_wordSize == 8 ? MemoryMarshal.Read<ulong>(stack[at..]) : MemoryMarshal.Read<uint>(stack[at..])) is { } entry)
            {
                found.Add(entry);
            }
        }

        return found;
    }
}
