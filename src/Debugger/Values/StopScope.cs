using System.Collections.Immutable;
using KTrace.Debugger.Cpus;
using KTrace.Debugger.Memory;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;

namespace KTrace.Debugger.Values;

/// <summary>One frame of a call path. The default is the innermost.</summary>
/// <param name="Path">Index in the call path, where inlined functions and those that left by a tail call have entries of their own.</param>
/// <param name="Physical">Index in <see cref="UnwindResult.Frames"/>.</param>
/// <param name="InlineDepth">0 for the innermost function that was inlined at the frame's pc (and counts as entered), counted outwards.</param>
internal readonly record struct SelectedFrame(int Path, int Physical, int InlineDepth);

/// <summary>
/// What the names in an expression mean at a stop of a live kernel: the arguments and locals of one frame, the innermost where no other is chosen, registers, the task that runs there, and
/// everything global at its run-time address. One object serves one stop after another.
/// </summary>
internal sealed class StopScope(KernelMap map, ITypeSource types, StopMemory memory, FrameVariables variables, TaskLocator? tasks) : IExpressionScope
{
    // Above the outermost frame that was found lies what entry code saved; below the innermost, what a function that was just entered has not made room for yet.
    private const ulong LargestStack = 16 << 10;

    private readonly Dictionary<string, FrameVariable> _locals = new(StringComparer.Ordinal);
    private readonly List<AddressRange> _missing = [];
    private UnwindResult _stack = new([], new UnwindStop.EndOfStack());
    private RegisterSet _registers = new(map.Image.Architecture);
    private IReadOnlyList<FrameVariable>? _fixedArguments;
    private ImmutableArray<FrameVariable> _arguments;
    private TypedValue? _returned;
    private CType? _taskPointer;
    private SelectedFrame _frame;
    private bool _hasLocals;

    public KernelMap Map => map;

    public Architecture Architecture => map.Image.Architecture;

    public ITypeSource Types => types;

    public IMemoryReader Memory => memory;

    public int Cpu { get; private set; }

    /// <summary>The innermost frame of a stop.</summary>
    /// <param name="stack">Its innermost frame is enough.</param>
    /// <param name="skippedInlines">Inlined functions whose first instruction is the pc, and which count as not entered yet.</param>
    public void Enter(UnwindResult stack, RegisterSet registers, int cpu, int skippedInlines = 0)
    {
        (_stack, _registers, Cpu, SkippedInlines, _frame) = (stack, registers, cpu, skippedInlines, default);
        (_fixedArguments, _returned, _arguments) = (null, null, default);
        HasNamedLocal = false;
        ForgetLocals();
    }

    /// <summary>Inlined functions whose first instruction is the pc, and which count as not entered yet.</summary>
    public int SkippedInlines { get; private set; }

    /// <summary>The innermost frame's arguments were asked for already, and are known as far as they can be.</summary>
    public void Know(ImmutableArray<FrameVariable> arguments) => _arguments = arguments;

    /// <summary>Any frame of a stop.</summary>
    public void Enter(UnwindResult stack, SelectedFrame frame, int cpu, int skippedInlines)
    {
        Enter(stack, stack.Frames[frame.Physical].Registers, cpu, skippedInlines);
        _frame = frame;
    }

    /// <summary>A function has returned: its arguments are those with which it was entered, and <c>$ret</c> is known.</summary>
    public void EnterReturn(RegisterSet registers, int cpu, IReadOnlyList<FrameVariable> arguments, TypedValue? returned)
    {
        Enter(_stack, registers, cpu);
        (_fixedArguments, _returned) = (arguments, returned);
    }

    /// <summary>The arguments of a function that is being entered, for a kernel that has types and no DWARF.</summary>
    public ImmutableArray<FrameVariable> EntryArguments => map.Image.HasDwarf ? [] : Values.EntryArguments.Of(map, types, _registers);

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

        var found = _locals.GetValueOrDefault(name);
        HasNamedLocal |= found is not null && !IsStatic(found);
        return found;
    }

    /// <summary>Whether a local variable or argument was asked for since the frame was entered, one that is gone when its function returns.</summary>
    public bool HasNamedLocal { get; private set; }

    /// <summary>
    /// Registers by the target's names; <c>pc</c>, <c>sp</c> and <c>fp</c> as gdb has them; on x86-64 the lower halves (<c>eax</c>) too. Numbers are unsigned long, as addresses are
    /// what is most often in them.
    /// </summary>
    public TypedValue? FindRegister(string name)
    {
        switch (name)
        {
            case "ret":
                return _returned;
            case "cpu":
                return TypedValue.OfNumber(new IntegerType("int", 4, IntegerEncoding.Signed), (ulong)Cpu, Provenance.Register);
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

    /// <summary>Left to the kernel's own table, which holds from the kernel's first instruction on, unlike gs_base.</summary>
    public ulong? PerCpuOffset(int cpu) => null;

    public string? NameOf(ulong address) => map.NameOf(address);

    /// <summary>Locals only: near names among 100,000 symbols take longer than a hit may.</summary>
    public IReadOnlyList<string> SuggestNames(string name, int limit) =>
        [.. _locals.Keys.Where(l => l.Length > 0 && (l.Contains(name, StringComparison.OrdinalIgnoreCase) || name.Contains(l, StringComparison.OrdinalIgnoreCase))).Take(limit)];

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
        Add(variables.LocalsOf(_stack, _frame.Physical, _frame.InlineDepth, memory, _missing, SkippedInlines));
        if (_frame.Path == 0 && !_arguments.IsDefault)
        {
            Add(_arguments);
            return;
        }

        var ofFrames = variables.ArgumentsOf(_stack, memory, _missing, SkippedInlines);
        if (_frame.Path < ofFrames.Length)
        {
            Add(ofFrames[_frame.Path].IsEmpty && _frame.Path == 0 ? EntryArguments : ofFrames[_frame.Path]);
        }
    }

    /// <summary>It lies in memory, and not in the stack: a static variable.</summary>
    private bool IsStatic(FrameVariable variable) =>
        variable.Value is { Address: { } address } && !_stack.Frames.IsEmpty
        && (address + LargestStack < _stack.Frames[0].Registers.StackPointer || address > _stack.Frames[^1].Registers.StackPointer + LargestStack);

    private void Add(IReadOnlyList<FrameVariable> found)
    {
        foreach (var variable in found)
        {
            _locals.TryAdd(variable.Name, variable);
        }
    }
}
