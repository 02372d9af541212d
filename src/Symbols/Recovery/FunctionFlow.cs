using KTrace.Symbols.Disassembly;

namespace KTrace.Symbols.Recovery;

/// <summary>How control comes into a block.</summary>
internal enum FlowEdgeKind : byte
{
    /// <summary>Behind the last instruction of the other block.</summary>
    After,

    /// <summary>In place of the other block: an alternative.</summary>
    Instead,

    /// <summary>The other block's first instruction faulted.</summary>
    Fault,
}

/// <param name="From">A block's index.</param>
/// <param name="FixupKind">Of a fault: what the exception table says about registers.</param>
internal readonly record struct FlowEdge(int From, FlowEdgeKind Kind, int FixupKind = 0);

/// <summary>Instructions that run one after the other.</summary>
internal sealed class FlowBlock(int index, int first, int count)
{
    public int Index { get; } = index;

    /// <summary>Its first instruction's index in the flow.</summary>
    public int First { get; } = first;

    /// <summary>Its instructions stand in the flow one behind the other.</summary>
    public int Count { get; } = count;

    public List<FlowEdge> Predecessors { get; } = [];

    public List<int> Successors { get; } = [];
}

/// <summary>A jump out of the function.</summary>
/// <param name="Address">Of the jump.</param>
/// <param name="Target">Where a function is entered; 0 when it goes through a register or to another object.</param>
internal readonly record struct FlowExit(ulong Address, ulong Target);

/// <summary>The control flow graph of one function, its cold parts and the code that may be patched into it included.</summary>
internal sealed class FunctionFlow
{
    private readonly MachineInstruction[] _instructions;
    private readonly Dictionary<ulong, int> _at;
    private readonly int[] _blockOf;

    public FunctionFlow(ulong entry, string name, MachineInstruction[] instructions, FlowBlock[] blocks, List<FlowExit> exits, List<Alternative> alternatives)
    {
        Entry = entry;
        Name = name;
        _instructions = instructions;
        Blocks = blocks;
        Exits = exits;
        Alternatives = alternatives;
        _at = new Dictionary<ulong, int>(instructions.Length);
        for (var i = 0; i < instructions.Length; i++)
        {
            _at[instructions[i].Address] = i;
        }

        _blockOf = new int[instructions.Length];
        foreach (var block in blocks)
        {
            Array.Fill(_blockOf, block.Index, block.First, block.Count);
        }
    }

    public ulong Entry { get; }

    public string Name { get; }

    /// <summary>In reverse post-order; the first is where the function is entered.</summary>
    public FlowBlock[] Blocks { get; }

    /// <summary>Tail calls.</summary>
    public List<FlowExit> Exits { get; }

    /// <summary>The alternatives in it.</summary>
    public List<Alternative> Alternatives { get; }

    public int InstructionCount => _instructions.Length;

    public ref readonly MachineInstruction Instruction(int index) => ref _instructions[index];

    public FlowBlock BlockOf(int instruction) => Blocks[_blockOf[instruction]];

    /// <summary>The instruction that begins at an address, or -1.</summary>
    public int Find(ulong address) => _at.GetValueOrDefault(address, -1);

    /// <summary>The instruction that holds the byte at an address; where code overlaps, the one that begins last. -1 when there is none.</summary>
    public int FindHolding(ulong address)
    {
        for (ulong back = 0; back < 15; back++)
        {
            if (_at.TryGetValue(address - back, out var index) && _instructions[index].Length > back)
            {
                return index;
            }
        }

        return -1;
    }

    /// <summary>Every way from the function's entry to an instruction leads through another.</summary>
    /// <param name="through">Index of the instruction that is asked about.</param>
    /// <param name="place">Index of the instruction that was reached.</param>
    public bool MustPass(int through, int place)
    {
        var (gate, target) = (_blockOf[through], _blockOf[place]);
        if (gate == target && through <= place)
        {
            return true;
        }

        if (gate == 0)
        {
            return gate != target;
        }

        // Is the place still to be reached when nobody gets past the gate?
        var seen = new bool[Blocks.Length];
        seen[0] = true;
        for (var todo = new Stack<int>([0]); todo.TryPop(out var at);)
        {
            if (at == target)
            {
                return false;
            }

            foreach (var next in Blocks[at].Successors)
            {
                if (next != gate && !seen[next])
                {
                    seen[next] = true;
                    todo.Push(next);
                }
            }
        }

        return gate != target;
    }
}
