using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;

namespace KTrace.Debugger;

/// <summary>
/// What the names in an expression mean at a stop of a live kernel: the arguments and locals of the innermost frame, registers, the task that runs there, and
/// everything global at its run-time address. One object serves one stop after another.
/// </summary>
internal sealed class StopScope(KernelMap map, ITypeSource types, StopMemory memory, FrameVariables variables, TaskLocator? tasks) : IExpressionScope
{
    private readonly Dictionary<string, FrameVariable> _locals = new(StringComparer.Ordinal);
    private readonly List<AddressRange> _missing = [];
    private UnwindResult _stack = new([], new UnwindStop.EndOfStack());
    private RegisterSet _registers = new(map.Image.Architecture);
    private IReadOnlyList<FrameVariable>? _fixedArguments;
    private TypedValue? _returned;
    private CType? _taskPointer;
    private int _skippedInlines;
    private bool _hasLocals;

    public Architecture Architecture => map.Image.Architecture;

    public ITypeSource Types => types;

    public IMemoryReader Memory => memory;

    public int Cpu { get; private set; }

    /// <summary>The innermost frame of a stop.</summary>
    /// <param name="stack">Its innermost frame is enough.</param>
    /// <param name="skippedInlines">Inlined functions whose first instruction is the pc, and which count as not entered yet.</param>
    public void Enter(UnwindResult stack, RegisterSet registers, int cpu, int skippedInlines = 0)
    {
        (_stack, _registers, Cpu, _skippedInlines) = (stack, registers, cpu, skippedInlines);
        (_fixedArguments, _returned) = (null, null);
        ForgetLocals();
    }

    /// <summary>A function has returned: its arguments are those with which it was entered, and <c>$ret</c> is known.</summary>
    public void EnterReturn(RegisterSet registers, int cpu, IReadOnlyList<FrameVariable> arguments, TypedValue? returned)
    {
        Enter(_stack, registers, cpu);
        (_fixedArguments, _returned) = (arguments, returned);
    }

    /// <summary>Memory was fetched since: locals that were missing may be there now.</summary>
    public void ForgetLocals()
    {
        _locals.Clear();
        _missing.Clear();
        _hasLocals = false;
    }

    /// <summary>What the locals need and was not fetched.</summary>
    public IReadOnlyList<AddressRange> Missing => _missing;

    public FrameVariable? FindLocal(string name)
    {
        if (!_hasLocals)
        {
            ReadLocals();
        }

        return _locals.GetValueOrDefault(name);
    }

    public TypedValue? FindRegister(string name)
    {
        switch (name)
        {
            case "ret":
                return _returned;
            case "pc":
                return Word(Architecture.ProgramCounter);
            case "sp":
                return Word(Architecture.StackPointer);
            case "fp":
                return Word(Architecture.FramePointer);
            default:
                var index = Architecture.IndexOf(name);
                return index >= 0 ? Word(index) : null;
        }
    }

    public TypedValue? CurrentTask
    {
        get
        {
            _taskPointer ??= types.FindType(TypeTag.Struct, "task_struct") is { } task ? new PointerType(task, Architecture.WordSize) : null;
            return tasks?.PointerAddress(_registers) is { } address && _taskPointer is not null
                ? new TypedValue { Type = _taskPointer, Address = address, Provenance = Provenance.Memory }
                : null;
        }
    }

    /// <summary>Of this CPU the register tells; of others the kernel's own table, which the evaluator reads.</summary>
    public ulong? PerCpuOffset(int cpu) => cpu == Cpu ? TaskLocator.PerCpuBase(_registers) : null;

    public string? NameOf(ulong address) => map.NameOf(address);

    public IReadOnlyList<string> SuggestNames(string name, int limit) =>
        map.Image.Symbols.Suggest(name, limit);

    private TypedValue? Word(int register) =>
        _registers.IsKnown(register)
            ? TypedValue.OfNumber(new IntegerType("unsigned long", Architecture.WordSize, IntegerEncoding.Unsigned), _registers[register], Provenance.Register)
            : null;

    private void ReadLocals()
    {
        _hasLocals = true;
        if (_fixedArguments is { } arguments)
        {
            Add(arguments);
            return;
        }

        if (_stack.Frames.IsEmpty)
        {
            return;
        }

        // Innermost first: a local hides an argument of the same name.
        Add(variables.LocalsOf(_stack, 0, _skippedInlines, memory, _missing));
        if (variables.ArgumentsOf(_stack, memory, _missing) is [var innermost, ..])
        {
            Add(innermost);
        }
    }

    private void Add(IReadOnlyList<FrameVariable> found)
    {
        foreach (var variable in found)
        {
            _locals.TryAdd(variable.Name, variable);
        }
    }
}
