using System.Collections.Immutable;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;

namespace KTrace.Debugger;

/// <summary>
/// What names and addresses mean in one frame of a stopped guest. Expressions and printing are synchronous over what was fetched; here is who fetches what they miss and asks
/// again. For one thread at a time, and only until the guest runs on.
/// </summary>
public sealed class StopScope : IExpressionScope
{
    // A chain of pointers takes a round for each; a list is followed no further than its printer's bound.
    private const int MaximumRounds = 64;
    private const int MaximumBatch = 32;
    private const int PageSize = 4096;

    private readonly RspClient _client;
    private readonly KernelMap _map;
    private readonly RegisterSet _registers;
    private readonly FetchedMemory _memory;
    private readonly IReadOnlyList<FrameVariable> _locals;
    private readonly TypedValue? _returned;
    private readonly TaskLocator? _tasks;
    private readonly RegisterSet _cpuRegisters;

    /// <param name="types">The kernel's and its modules' (<see cref="KernelTypes"/>, best behind a <see cref="RememberedTypes"/> that lives longer than one stop).</param>
    /// <param name="registers">Of the stopped CPU, which is the innermost frame.</param>
    /// <param name="locals">Arguments and locals of the frame, innermost scope first.</param>
    /// <param name="returned">What <c>$ret</c> is: given only where a function has just returned.</param>
    public StopScope(RspClient client, KernelMap map, ITypeSource types, RegisterSet registers, int cpu, IReadOnlyList<FrameVariable>? locals = null, TypedValue? returned = null)
        : this(client, map, types, registers, registers, cpu, locals, returned, new FetchedMemory(), TaskLocator.Find(map))
    {
    }

    private StopScope(
        RspClient client, KernelMap map, ITypeSource types, RegisterSet cpuRegisters, RegisterSet registers, int cpu, IReadOnlyList<FrameVariable>? locals, TypedValue? returned,
        FetchedMemory memory, TaskLocator? tasks)
    {
        (_client, _map, Types, _cpuRegisters, _registers, Cpu, _memory, _tasks) = (client, map, types, cpuRegisters, registers, cpu, memory, tasks);
        _locals = locals ?? [];
        _returned = returned;
    }

    public Architecture Architecture => _map.Image.Architecture;

    public ITypeSource Types { get; }

    public IMemoryReader Memory => _memory;

    public int Cpu { get; }

    public TypedValue? CurrentTask
    {
        get
        {
            if (_tasks?.PointerAddress(_cpuRegisters) is not { } address || Types.FindType(TypeTag.Struct, "task_struct") is not { } task)
            {
                return null;
            }

            return new TypedValue { Type = new PointerType(task, Architecture.WordSize), Address = address, Provenance = Provenance.Memory };
        }
    }

    /// <summary>The same stop, looked at from another frame. What was fetched is shared.</summary>
    public StopScope InFrame(RegisterSet registers, IReadOnlyList<FrameVariable> locals) =>
        new(_client, _map, Types, _cpuRegisters, registers, Cpu, locals, null, _memory, _tasks);

    public FrameVariable? FindLocal(string name)
    {
        foreach (var local in _locals)
        {
            if (local.Name == name)
            {
                return local;
            }
        }

        return null;
    }

    /// <summary>
    /// Registers by the target's names; <c>pc</c>, <c>sp</c> and <c>fp</c> as gdb has them; on x86-64 the lower halves (<c>eax</c>) too. Numbers are unsigned long, as addresses are
    /// what is most often in them.
    /// </summary>
    public TypedValue? FindRegister(string name)
    {
        if (name == "ret")
        {
            return _returned;
        }

        var architecture = Architecture;
        var index = name switch
        {
            "pc" => architecture.ProgramCounter,
            "sp" => architecture.StackPointer,
            "fp" => architecture.FramePointer,
            _ => architecture.IndexOf(name),
        };
        var size = architecture.WordSize;
        if (index < 0 && size == 8 && name.Length == 3 && name[0] == 'e')
        {
            (index, size) = (architecture.IndexOf("r" + name[1..]), 4);
        }

        if (index < 0 || !_registers.IsKnown(index))
        {
            return null;
        }

        CType type = index == architecture.ProgramCounter ? new PointerType(new FunctionType(() => VoidType.Instance, () => [], isVariadic: false), size)
            : index == architecture.StackPointer && size == architecture.WordSize ? new PointerType(VoidType.Instance, size)
            : new IntegerType(size == architecture.WordSize ? "long unsigned int" : "unsigned int", size, IntegerEncoding.Unsigned);
        return TypedValue.OfNumber(type, _registers[index], Provenance.Register);
    }

    /// <summary>Left to the kernel's own table, which holds from the kernel's first instruction on, unlike gs_base.</summary>
    public ulong? PerCpuOffset(int cpu) => null;

    public string? NameOf(ulong address)
    {
        var link = _map.ToLinkTime(address);
        if (link >= _map.Image.KernelMapBase && NameIn(_map.Image.Symbols, link) is { } name)
        {
            return name;
        }

        foreach (var module in _map.Modules)
        {
            if (module.Symbols is { } symbols && NameIn(symbols, address) is { } inModule)
            {
                return inModule;
            }
        }

        return null;
    }

    public IReadOnlyList<string> SuggestNames(string name, int limit) =>
        [.. _locals.Where(l => l.Name.Contains(name, StringComparison.OrdinalIgnoreCase) || name.Contains(l.Name, StringComparison.OrdinalIgnoreCase))
            .Select(l => l.Name).Where(n => n.Length > 0).Distinct().Take(limit)];

    /// <summary>Evaluates, and fetches whatever that takes. Never <see cref="ExpressionOutcome.Missing"/>.</summary>
    /// <exception cref="RspException">The stub is broken or silent.</exception>
    public async ValueTask<ExpressionOutcome> EvaluateAsync(Expression expression, CancellationToken cancellationToken = default) =>
        await CompleteAsync(() => expression.Evaluate(this), cancellationToken);

    /// <summary>Evaluates as a condition, and fetches whatever that takes.</summary>
    /// <exception cref="RspException">The stub is broken or silent.</exception>
    public async ValueTask<ExpressionOutcome> EvaluateConditionAsync(Expression expression, CancellationToken cancellationToken = default) =>
        await CompleteAsync(() => expression.EvaluateCondition(this), cancellationToken);

    /// <summary>Prints, and fetches whatever that takes.</summary>
    /// <exception cref="RspException">The stub is broken or silent.</exception>
    public async ValueTask<string> PrintAsync(NamedValue value, PrintOptions? options = null, CancellationToken cancellationToken = default)
    {
        for (var round = 0; ; round++)
        {
            var printed = ValuePrinter.Print(value, this, options);
            if (printed.IsComplete || round == MaximumRounds)
            {
                return printed.Text;
            }

            await FetchAsync(printed.Missing, cancellationToken);
        }
    }

    /// <summary>Fetches memory; what the stub refuses is remembered as unreadable.</summary>
    /// <exception cref="RspException">The stub is broken or silent.</exception>
    public async ValueTask FetchAsync(ImmutableArray<MemoryRange> ranges, CancellationToken cancellationToken = default)
    {
        var batch = new List<ReadMemory>();
        foreach (var range in ranges)
        {
            var (start, length) = (range.Address, range.Length);
            while (length > 0)
            {
                // None crosses a page, so that a missing page refuses only itself.
                var piece = (int)Math.Min((ulong)Math.Min(length, _client.Features.MaxMemoryRead), PageSize - (start % PageSize));
                if (!_memory.Knows(start, piece))
                {
                    batch.Add(new ReadMemory(start, new byte[piece]));
                }

                start += (ulong)piece;
                length -= piece;
            }
        }

        for (var first = 0; first < batch.Count; first += MaximumBatch)
        {
            var part = batch.Skip(first).Take(MaximumBatch).ToArray();
            var outcomes = new RspOutcome[part.Length];
            await _client.SendBatchAsync(part, outcomes, cancellationToken);
            for (var i = 0; i < part.Length; i++)
            {
                var read = outcomes[i].IsOk ? outcomes[i].Length : 0;
                _memory.Add(part[i].Address, part[i].Destination[..read]);
                if (read < part[i].Destination.Length)
                {
                    _memory.AddUnreadable(part[i].Address + (ulong)read, (ulong)(part[i].Destination.Length - read));
                }
            }
        }
    }

    private static string? NameIn(ElfSymbolTable symbols, ulong address)
    {
        if (!symbols.TryFindNearest(address, out var symbol))
        {
            return null;
        }

        var offset = address - symbol.Value;
        return offset == 0 ? symbol.Name : offset < symbol.Size ? FormattableString.Invariant($"{symbol.Name}+0x{offset:x}") : null;
    }

    private async ValueTask<ExpressionOutcome> CompleteAsync(Func<ExpressionOutcome> evaluate, CancellationToken cancellationToken)
    {
        for (var round = 0; ; round++)
        {
            var outcome = evaluate();
            if (outcome is not ExpressionOutcome.Missing missing)
            {
                return outcome;
            }

            if (round == MaximumRounds)
            {
                return new ExpressionOutcome.Failed("it takes too many reads of memory, one after the other", 0, 0);
            }

            await FetchAsync(missing.Ranges, cancellationToken);
        }
    }
}
