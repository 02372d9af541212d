using KTrace.Symbols.Arch;
using KTrace.Symbols.Types;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;
using static KTrace.Tests.Symbols.Values.TableScope;

namespace KTrace.Tests.Symbols.Values.Expressions;

/// <summary>What an expression gives, misses or says; numbers are compared with gdb elsewhere.</summary>
public sealed class ExpressionTests
{
    private static readonly StructType Chip = Struct("irq_chip", ("name", To(CharType)), ("irq_mask", To(new FunctionType(() => VoidType.Instance, () => [], false))));
    private static readonly StructType IrqData = Struct("irq_data", ("mask", UInt), ("irq", UInt), ("chip", To(Chip)));
    private static readonly StructType Desc = Struct("irq_desc", ("irq_data", IrqData), ("depth", Int), ("pad", Int));
    private static readonly StructType Node = Struct("node", ("next", new PointerType(() => Node!, 8)), ("id", Long));
    private static readonly StructType TaskStruct = Struct("task_struct", ("comm", new ArrayType(CharType, 16)), ("pid", Int));

    [Theory]
    [InlineData("desc->irq_data.irq", 24)]
    [InlineData("desc.irq_data->irq", 24)]
    [InlineData("(*desc).depth == -1 && desc->irq_data.chip->name == \"PCI-MSI\"", 1)]
    [InlineData("desc->irq_data.chip->name != \"PCI-MSI\"", 0)]
    [InlineData("desc->irq_data.chip->name == \"PCI\"", 0)]
    [InlineData("desc->irq_data.chip->name == \"PCI-MSI-X\"", 0)]
    [InlineData("desc->irq_data.chip->name =~ \"PCI*\"", 1)]
    [InlineData("desc->irq_data.chip->name =~ \"*-M?I\"", 1)]
    [InlineData("desc->irq_data.chip->name =~ \"PCI\"", 0)]
    [InlineData("\"PCI-MSI\" == desc->irq_data.chip->name", 1)]
    [InlineData("desc->irq_data.chip->name[4] == 'M'", 1)]
    [InlineData("null && null->id == 3", 0)]
    [InlineData("null == NULL || null->id", 1)]
    [InlineData("null->name_is_not_text == 1 || 1", -1)]
    [InlineData("sizeof(null->id)", 8)]
    [InlineData("sizeof null->next->next->id", 8)]
    [InlineData("IS_ERR(error)", 1)]
    [InlineData("IS_ERR_OR_NULL(null)", 1)]
    [InlineData("IS_ERR(desc)", 0)]
    [InlineData("PTR_ERR(error)", -22)]
    [InlineData("error == -22", 1)]
    [InlineData("error == (void *)-22", 1)]
    [InlineData("ARRAY_SIZE(current->comm)", 16)]
    [InlineData("ntohs(0x1234)", 0x3412)]
    [InlineData("ntohl(1)", 0x01000000)]
    [InlineData("container_of(&desc->irq_data.irq, struct irq_desc, irq_data.irq) == desc", 1)]
    [InlineData("offsetof(struct irq_desc, irq_data.chip)", 8)]
    [InlineData("current->comm == \"ifconfig\" && current->pid > 60", 1)]
    [InlineData("current->comm == \"ifconfi\"", 0)]
    [InlineData("irq", 24)]
    [InlineData("$rdi + 1", 6)]
    [InlineData("$cpu", 1)]
    [InlineData("counter", 200)]
    [InlineData("per_cpu(counter, 0)", 100)]
    [InlineData("per_cpu(counter, 1) - this_cpu(counter)", 0)]
    [InlineData("*per_cpu_ptr(&counter, 0)", 100)]
    [InlineData("*this_cpu_ptr(&counter)", 200)]
    [InlineData("*per_cpu_ptr(template, 0)", 100)]
    [InlineData("per_cpu(runqueue.id, 0)", 7)]
    [InlineData("(long)&per_cpu(counter, 1) == $percpu + 0x100", 1)]
    [InlineData("true && !false", 1)]
    [InlineData("desc->irq_data.chip->irq_mask == mask_msi", 1)]
    [InlineData("(long)untyped", 0x1122334455667788)]
    [InlineData("untyped == 0", -1)]
    [InlineData("(irq) + 1", 25)]
    [InlineData("(irq) * 2", 48)]
    public void Expressions_over_kernel_structures(string text, long expected)
    {
        var outcome = Expression.Parse(text).Evaluate(Scope());
        if (expected == -1 && outcome is ExpressionOutcome.Failed)
        {
            return;
        }

        Assert.Equal(expected, Assert.IsType<ExpressionOutcome.Value>(outcome).Result.Number);
    }

    [Theory]
    [InlineData("desc2->irq_data.chip->name", "desc2->irq_data.chip is NULL", 0, 20)]
    [InlineData("1 + null->id", "null is NULL", 4, 4)]
    [InlineData("*null", "null is NULL", 1, 4)]
    [InlineData("null[0]", "null is NULL", 0, 4)]
    [InlineData("((struct node *)0)->next->id", "(struct node *)0 is NULL", 0, 18)]
    [InlineData("error->id", "error is the error -EINVAL", 0, 5)]
    [InlineData("wild->id", "wild->id cannot be read at 0xdead0000008", 0, 8)]
    [InlineData("desc->irq_data.chipp", "struct irq_data has no member chipp; near it: chip", 15, 5)]
    [InlineData("desc->nothing", "struct irq_desc has no member nothing", 6, 7)]
    [InlineData("irq->depth", "irq is an unsigned int, and has no members", 0, 3)]
    [InlineData("irqs", "there is no irqs here; near it: irq", 0, 4)]
    [InlineData("data", "data is optimized out here (it is an argument)", 0, 4)]
    [InlineData("1 + data->id", "data is optimized out here (it is an argument)", 4, 4)]
    [InlineData("irq / (irq - 24)", "division by zero: irq - 24 is 0", 0, 16)]
    [InlineData("1 << 32", "a shift by 32 of 32 bits", 0, 7)]
    [InlineData("desc & 1", "this operation takes numbers: cast the pointer to unsigned long first", 0, 8)]
    [InlineData("*irq", "irq is no pointer but an unsigned int: cast it, as in *(unsigned long *)irq", 0, 4)]
    [InlineData("&irq", "irq is in a register and has no address", 0, 4)]
    [InlineData("&(irq + 1)", "irq + 1 is no variable in memory and has no address", 0, 10)]
    [InlineData("(struct nothing *)irq", "there is no type 'struct nothing'", 1, 16)]
    [InlineData("irq == \"x\"", "irq is an unsigned int: only char arrays and char pointers are compared with text", 0, 3)]
    [InlineData("desc->irq_data + 1", "desc->irq_data is a struct irq_data, not a number", 0, 14)]
    [InlineData("untyped + 1", "the type of untyped is not known: cast it, as in (unsigned long)untyped", 0, 7)]
    [InlineData("$ret", "$ret is known only where the function has returned", 0, 4)]
    [InlineData("$xmm0", "the register $xmm0 is not known here", 0, 5)]
    [InlineData("per_cpu(counter, 5)", "there is no CPU 5", 8, 7)]
    [InlineData("(irq)(desc)", "irq is no type; if a call was meant: those would run code in the guest, and are refused", 1, 3)]
    public void What_has_no_value_says_why_and_where(string text, string message, int position, int length)
    {
        var failed = Assert.IsType<ExpressionOutcome.Failed>(Expression.Parse(text).Evaluate(Scope()));
        Assert.Equal(message, failed.Message);
        Assert.Equal((position, length), (failed.Position, failed.Length));
    }

    [Theory]
    [InlineData("", 0)]
    [InlineData("irq +", 5)]
    [InlineData("irq = 3", 4)]
    [InlineData("irq += 3", 4)]
    [InlineData("irq++", 3)]
    [InlineData("++irq", 0)]
    [InlineData("printk(\"x\")", 0)]
    [InlineData("desc->handler(1)", 0)]
    [InlineData("(irq", 4)]
    [InlineData("desc->", 6)]
    [InlineData("irq irq", 4)]
    [InlineData("a, b", 1)]
    [InlineData("'ab'", 0)]
    [InlineData("\"abc", 0)]
    [InlineData("\"\\q\"", 1)]
    [InlineData("09", 1)]
    [InlineData("0x", 0)]
    [InlineData("1.5", 0)]
    [InlineData("12abc", 0)]
    [InlineData("99999999999999999999", 0)]
    [InlineData("irq # 1", 4)]
    [InlineData("struct irq_desc", 0)]
    [InlineData("(struct irq_desc *", 18)]
    [InlineData("sizeof(struct", 13)]
    [InlineData("offsetof(struct x)", 17)]
    [InlineData("per_cpu(x)", 9)]
    [InlineData("x =~", 4)]
    [InlineData("file.c::", 8)]
    public void What_is_no_expression_is_known_before_anything_is_evaluated(string text, int position) =>
        Assert.Equal(position, Assert.Throws<ExpressionSyntaxException>(() => Expression.Parse(text)).Position);

    [Theory]
    [InlineData("irq == 24 print desc->irq_data, irq", "irq == 24", "print desc->irq_data, irq")]
    [InlineData("(irq) print irq", "(irq)", "print irq")]
    [InlineData("print > 3 print x", "print > 3", "print x")]
    [InlineData("f.c::x && y return print $ret", "f.c::x && y", "return print $ret")]
    [InlineData("a, b", "a", ", b")]
    [InlineData("sizeof (a) print b", "sizeof (a)", "print b")]
    [InlineData("a ? b : (c) print d", "a ? b : (c)", "print d")]
    public void A_prefix_ends_where_the_next_word_cannot_belong_to_it(string text, string expression, string rest)
    {
        var position = 0;
        Assert.Equal(expression, Expression.ParsePrefix(text, ref position).Text);
        Assert.Equal(rest, text[position..]);
    }

    [Fact]
    public void A_list_has_commas_between_its_expressions_and_not_inside_of_them()
    {
        Assert.Equal(["a", "per_cpu(b, 0)", "(c)"], Expression.ParseList(" a , per_cpu(b, 0),(c)").Select(e => e.Text));
        Assert.Equal(2, Assert.Throws<ExpressionSyntaxException>(() => Expression.ParseList("a,")).Position);
        var position = 5;
        Assert.Equal(2, Expression.ParseListPrefix("xxxx a, b print c", ref position).Length);
        Assert.Equal(10, position);
    }

    [Fact]
    public void A_name_in_parentheses_is_a_type_where_no_value_has_it()
    {
        var scope = Scope();
        scope.Named[(TypeTag.Ordinary, "u8")] = new TypedefType("u8", U8);
        var expression = Expression.Parse("(u8) - irq * 2");
        Assert.Equal(232 * 2, Value(expression, scope));
        scope.Local("u8", Int, 100);
        Assert.Equal(100 - (24 * 2), Value(expression, scope));
        Assert.Equal(4, Value(Expression.Parse("sizeof(u8)"), scope));
        scope.Locals.Remove("u8");
        Assert.Equal(1, Value(Expression.Parse("sizeof(u8)"), scope));
    }

    [Fact]
    public void What_both_sides_miss_comes_in_one_round()
    {
        var scope = Scope();
        scope.NotFetched.Add(0x1000);
        var missing = Assert.IsType<ExpressionOutcome.Missing>(Expression.Parse("desc->irq_data.irq + global").Evaluate(scope));
        Assert.Equal(new MemoryRange[] { new(0x1004, 4), new(0x1900, 4) }, missing.Ranges.ToArray());

        // The right side of && may only make sense when the left one holds.
        missing = Assert.IsType<ExpressionOutcome.Missing>(Expression.Parse("desc->irq_data.irq && global").Evaluate(scope));
        Assert.Equal(new MemoryRange[] { new(0x1004, 4) }, missing.Ranges.ToArray());
        scope.NotFetched.Clear();
        Assert.IsType<ExpressionOutcome.Value>(Expression.Parse("desc->irq_data.irq + global").Evaluate(scope));
    }

    [Fact]
    public void Addresses_and_sizes_are_told_without_reading()
    {
        var scope = Scope();
        Assert.Equal(0x1008, Value(Expression.Parse("&desc->irq_data.chip"), scope));
        Assert.Equal(8, Value(Expression.Parse("(long)&null->id"), scope));
        Assert.Equal(0, scope.Reads);
    }

    [Fact]
    public void On_i386_addresses_wrap_at_32_bits_and_long_has_4_bytes()
    {
        var scope = new TableScope { Architecture = I386.Instance };
        scope.Local("p", new PointerType(Int, 4), 0xfffffffc);
        scope.Local("error", new PointerType(Int, 4), unchecked((uint)-12));
        Assert.Equal(0, Value(Expression.Parse("(unsigned long)(p + 1)"), scope));
        Assert.Equal(4, Value(Expression.Parse("sizeof(long)"), scope));
        Assert.Equal(uint.MaxValue, Value(Expression.Parse("4294967295ul"), scope));
        Assert.Equal(8, Value(Expression.Parse("sizeof(4294967296)"), scope));
        Assert.Equal("error is the error -ENOMEM", Assert.IsType<ExpressionOutcome.Failed>(Expression.Parse("*error").Evaluate(scope)).Message);
    }

    [Fact]
    public void A_condition_of_what_is_no_number_is_refused()
    {
        var scope = Scope();
        Assert.Contains("not a number", Assert.IsType<ExpressionOutcome.Failed>(Expression.Parse("*desc").EvaluateCondition(scope)).Message);
        Assert.True(Assert.IsType<ExpressionOutcome.Value>(Expression.Parse("desc").EvaluateCondition(scope)).IsTrue);
        Assert.False(Assert.IsType<ExpressionOutcome.Value>(Expression.Parse("null").EvaluateCondition(scope)).IsTrue);
    }

    [Fact]
    public void Long_and_deep_texts_are_refused_by_their_size()
    {
        Assert.Throws<ExpressionSyntaxException>(() => Expression.Parse(new string('(', 3000) + "1" + new string(')', 1000)));
        Assert.Throws<ExpressionSyntaxException>(() => Expression.Parse(new string('*', 4000) + "x"));
        Assert.Throws<ExpressionSyntaxException>(() => Expression.Parse(new string('1', 5000)));
        Assert.Throws<ExpressionSyntaxException>(() => Expression.Parse(string.Join('+', Enumerable.Repeat("1", 1000))));
        Assert.Equal(100, Value(Expression.Parse(string.Join('+', Enumerable.Repeat("1", 100))), Scope()));
    }

    [Fact]
    public void A_text_without_end_is_compared_as_far_as_the_literal_reaches()
    {
        var scope = Scope().With(0x100000, [.. Enumerable.Repeat((byte)'a', 1 << 20)]);
        scope.Local("endless", To(CharType), 0x100000);
        Assert.Equal(0, Value(Expression.Parse("endless == \"aaaa\""), scope));
        Assert.True(scope.BytesRead <= 64, $"{scope.BytesRead}");
        Assert.Equal(1, Value(Expression.Parse("endless =~ \"a*\""), scope));
        Assert.True(scope.BytesRead <= 2048, $"{scope.BytesRead}");
    }

    [Fact]
    public void Mutated_texts_give_outcomes_or_the_declared_exception()
    {
        const int Cases = 2000;
        string[] seeds =
        [
            "desc->irq_data.chip->name == \"PCI-MSI\" && (irq & 0x3f) << 2 > sizeof(struct irq_desc) ? container_of(desc, struct irq_desc, irq_data)->depth : -1",
            "per_cpu(counter, 1) + *(unsigned long *)((char *)&current->pid + 4 * irq) - offsetof(struct irq_desc, irq_data.chip)", "null->next->next->id || !wild[3].id, 'x' == \"a\\n\\x41\"[irq - 24]",
            "'file.c'::name + file.c::other(1) * $rdi % 7u @ 3", "(int (*)(void *, long))desc + (irq)-1 - (irq) * ~desc->depth", "((((((irq))))))[desc] =~ \"*a*b?c*\"",
        ];
        var alphabet = "()[]*&->.,+-/%<>=!~|^?:@$'\"\\ 019xaUlL_sizeof struct irq desc\u202e\u0000\ud800é#".ToCharArray();
        var random = new Random(20260731);
        var scope = Scope();
        for (var i = 0; i < Cases; i++)
        {
            var text = seeds[random.Next(seeds.Length)].ToList();
            for (var changes = random.Next(1, 8); changes > 0 && text.Count > 0; changes--)
            {
                var at = random.Next(text.Count);
                switch (random.Next(4))
                {
                    case 0:
                        text[at] = alphabet[random.Next(alphabet.Length)];
                        break;
                    case 1:
                        text.Insert(at, alphabet[random.Next(alphabet.Length)]);
                        break;
                    case 2:
                        text.RemoveRange(at, Math.Min(random.Next(1, 9), text.Count - at));
                        break;
                    default:
                        text.InsertRange(at, text.GetRange(random.Next(text.Count), 1).Concat(text.Skip(random.Next(text.Count)).Take(12)).ToArray());
                        break;
                }
            }

            var words = string.Concat(text);
            try
            {
                foreach (var expression in Expression.ParseList(words))
                {
                    if (expression.Evaluate(scope) is ExpressionOutcome.Failed failed)
                    {
                        Assert.InRange(failed.Position, 0, words.Length);
                        Assert.InRange(failed.Position + failed.Length, 0, words.Length);
                        Assert.DoesNotContain('\n', failed.Message);
                    }
                }
            }
            catch (ExpressionSyntaxException e)
            {
                Assert.InRange(e.Position, 0, words.Length);
            }
        }
    }

    private static long? Value(Expression expression, TableScope scope) => Assert.IsType<ExpressionOutcome.Value>(expression.Evaluate(scope)).Result.Number;

    private static TableScope Scope()
    {
        var scope = new TableScope { Cpu = 1 }.Type(Desc).Type(IrqData).Type(Node).Type(TaskStruct).Type(Chip)
            .With(0x1000, 0, 0, 0, 0, 24, 0, 0, 0).WithWords(0x1008, 0x2000).With(0x1010, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0).With(0x1900, 9, 0, 0, 0)
            .WithWords(0x2000, 0x2100, 0xffffffff81000040).WithText(0x2100, "PCI-MSI")
            .With(0x3000, [.. "ifconfig\0\0\0\0\0\0\0\0"u8, 62, 0, 0, 0])
            .With(0x4000, new byte[64]).WithWords(0x5000, 0x1122334455667788)
            .With(0x10100, 100, 0, 0, 0).With(0x20100, 200, 0, 0, 0).WithWords(0x10200, 0, 7).WithWords(0x20200, 0, 8)
            .Local("desc", To(Desc), 0x1000).Local("desc2", To(Desc), 0x4000).Local("irq", UInt, 24).Local("null", To(Node), 0).Local("error", To(Node), unchecked((ulong)-22))
            .Local("wild", To(Node), 0xdead0000000).Local("template", To(Int), 0x100)
            .Global("global", Int, 0x1900).Global("counter", Int, 0x100, isPerCpu: true).Global("runqueue", Node, 0x200, isPerCpu: true).Global("untyped", VoidType.Instance, 0x5000);
        scope.Locals["data"] = new FrameVariable("data", To(Node), true, null);
        scope.Functions["mask_msi"] = new Variable("mask_msi", VoidType.Instance, 0xffffffff81000040);
        scope.Variables["__per_cpu_offset"] = new Variable("__per_cpu_offset", new ArrayType(ULong, 2), 0x6000);
        scope.PerCpuOffsets.AddRange([0x10000, 0x20000]);
        scope.Registers["rdi"] = TypedValue.OfNumber(ULong, 5);
        scope.CurrentTask = TypedValue.OfNumber(To(TaskStruct), 0x3000);
        return scope;
    }
}
