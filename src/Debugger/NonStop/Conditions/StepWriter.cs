using System.Collections.Immutable;
using KTrace.Debugger.NonStop.Trampolines;

namespace KTrace.Debugger.NonStop.Conditions;

/// <summary>Puts a condition's nodes in the order in which a stack machine asks them, within its bounds.</summary>
/// <param name="taskSize">Bytes of struct task_struct.</param>
internal sealed class StepWriter(long taskSize)
{
    private const int MaximumLoads = 8;
    private const int MaximumSteps = 256;

    private readonly List<ConditionStep> _steps = [];
    private int _depth;
    private int _loads;

    /// <exception cref="UncompilableException">It is larger than what a trampoline may run.</exception>
    public ImmutableArray<ConditionStep> Write(ConditionNode root)
    {
        Visit(root);
        return [.. _steps];
    }

    private void Visit(ConditionNode node)
    {
        switch (node)
        {
            case ConditionNode.Constant constant:
                Push(new ConditionStep.Constant((ulong)constant.Bits, constant.IsKernelAddress));
                break;
            case ConditionNode.Register register:
                Push(new ConditionStep.EntryRegister(register.Number));
                break;
            case ConditionNode.Task:
                Push(new ConditionStep.CurrentTask());
                break;
            case ConditionNode.Cpu:
                Push(new ConditionStep.CpuNumber());
                break;
            case ConditionNode.Load load:
                Visit(load);
                break;
            case ConditionNode.Text text:
                var (textAt, textOffset, isTasks) = Split(text.Address, text.Wanted.Length);
                Visit(textAt);
                Count(isTasks);
                Add(new ConditionStep.TextEquals(textOffset, text.Wanted, text.IsPointer, isTasks));
                break;
            case ConditionNode.Widen widen:
                Visit(widen.Value);
                Add(new ConditionStep.Field(0, widen.Bits, widen.IsSigned));
                break;
            case ConditionNode.Unary unary:
                Visit(unary.Value);
                Add(new ConditionStep.Operate(unary.Operation));
                break;
            case ConditionNode.Binary binary:
                Visit(binary.Left);
                Visit(binary.Right);
                _depth--;
                Add(new ConditionStep.Operate(binary.Operation));
                break;
            case ConditionNode.Required required:
                Visit(required.Value);
                Add(new ConditionStep.Require(required.IsPointer));
                break;
            case ConditionNode.RequiredLess required:
                Visit(required.Value);
                Add(new ConditionStep.RequireLess(required.Limit));
                break;
            case ConditionNode.Logical logical:
                Visit(logical.Left);
                var skip = Reserve();
                Visit(logical.Right);
                Add(new ConditionStep.Operate(ConditionOperation.IsNotZero));
                _steps[skip] = new ConditionStep.SkipIf(logical.IsOr, _steps.Count);
                break;
            case ConditionNode.Choice choice:
                Visit(choice.Condition);
                var toOther = Reserve();
                Visit(choice.Then);
                var toEnd = Reserve();
                _steps[toOther] = new ConditionStep.JumpIfZero(_steps.Count);
                Visit(choice.Otherwise);
                _steps[toEnd] = new ConditionStep.Jump(_steps.Count);
                break;
            default:
                throw new InvalidOperationException(node.GetType().Name);
        }
    }

    private void Visit(ConditionNode.Load load)
    {
        var (address, offset, isTasks) = Split(load.Address, load.Bytes);
        Visit(address);
        Count(isTasks);
        var isField = load.BitSize != 0;
        Add(new ConditionStep.Load(offset, load.Bytes, load.IsSigned && !isField, isTasks));
        if (isField)
        {
            Add(new ConditionStep.Field(load.BitOffset, load.BitSize, load.IsSigned));
        }
    }

    /// <summary>An address as something computed and a constant. What lies within the current task's own structure is known to be there.</summary>
    private (ConditionNode Address, int Offset, bool IsOwnTask) Split(ConditionNode address, int bytes)
    {
        var (start, offset) = address is ConditionNode.Binary { Operation: ConditionOperation.Add, Right: ConditionNode.Constant { IsKernelAddress: false, Bits: >= int.MinValue and <= int.MaxValue and var bits } } sum
            ? (sum.Left, (int)bits)
            : (address, 0);
        return (start, offset, start is ConditionNode.Required { IsPointer: true, Value: ConditionNode.Task } && offset >= 0 && offset + TouchedBytes(bytes) <= taskSize);
    }

    private static int TouchedBytes(int bytes) => Math.Max(bytes, 8);

    private void Count(bool isOwnTask)
    {
        if (!isOwnTask && ++_loads > MaximumLoads)
        {
            throw new UncompilableException($"it reads memory at more than {MaximumLoads} places");
        }
    }

    private void Push(ConditionStep step)
    {
        if (_depth == ConditionStep.MaximumDepth)
        {
            throw new UncompilableException("it has too many parentheses within each other");
        }

        _depth++;
        Add(step);
    }

    /// <summary>A step that takes a value, and is known when what follows it is.</summary>
    private int Reserve()
    {
        _depth--;
        Add(new ConditionStep.Jump(0));
        return _steps.Count - 1;
    }

    private void Add(ConditionStep step)
    {
        if (_steps.Count == MaximumSteps)
        {
            throw new UncompilableException($"it takes more than {MaximumSteps} steps");
        }

        _steps.Add(step);
    }
}
