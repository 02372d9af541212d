using KTrace.Symbols.Arch;
using KTrace.Symbols.Recovery;

namespace KTrace.Tests.Symbols.Recovery;

/// <summary>One rule each, with the trap in which a naive analysis is caught.</summary>
public sealed class FlowRuleTests
{
    private const string Callee = "\nfunc callee\n ret\nendf callee\n";

    [Fact]
    public void A_copy_in_a_callee_saved_register_survives_a_call()
    {
        using var code = Code("func f\n push %rbx\n mov %rdi, %rbx\n call callee\nback:\n pop %rbx\n ret\nendf f");
        Assert.Contains(new ValueRecipe.Register(X86_64.Rbx, 0), code.AtEntry("back", X86_64.Rdi));
        Assert.DoesNotContain(code.AtEntry("back", X86_64.Rsi), r => r is not (ValueRecipe.EntryRegister or ValueRecipe.Passed));
    }

    [Fact]
    public void Additions_are_undone_both_ways()
    {
        using var code = Code("func f\n push %rbx\n lea 0x28(%rdi), %rbx\n mov %rbx, %rsi\n sub $0x30, %rsi\n call callee\nback:\n pop %rbx\n ret\nendf f");
        Assert.Contains(new ValueRecipe.Register(X86_64.Rbx, -0x28), code.AtEntry("back", X86_64.Rdi));
        Assert.Contains(new ValueRecipe.Register(X86_64.Rbx, -0x30), code.Passed("back", X86_64.Rsi));
    }

    [Fact]
    public void A_32_bit_copy_proves_32_bits()
    {
        using var code = Code("func f\n push %rbx\n mov %edi, %ebx\n call callee\nback:\n pop %rbx\n ret\nendf f");
        Assert.Contains(new ValueRecipe.Register(X86_64.Rbx, 0) { Bits = 32 }, code.AtEntry("back", X86_64.Rdi));
    }

    [Fact]
    public void A_byte_that_was_widened_proves_8_bits()
    {
        using var code = Code("func f\n push %rbx\n movsbl %dil, %ebx\n call callee\nback:\n pop %rbx\n ret\nendf f");
        Assert.Contains(new ValueRecipe.Register(X86_64.Rbx, 0) { Bits = 8 }, code.AtEntry("back", X86_64.Rdi));
    }

    [Fact]
    public void A_spilled_argument_is_found_in_its_slot()
    {
        using var code = Code("func f\n sub $24, %rsp\n mov %rdi, 8(%rsp)\n call callee\nback:\n mov 8(%rsp), %rax\n add $24, %rsp\n ret\nendf f");
        Assert.Contains(new ValueRecipe.StackSlot(-24, 8, 0), code.AtEntry("back", X86_64.Rdi));
    }

    [Fact]
    public void A_word_that_may_be_the_callees_argument_is_not_believed()
    {
        // The callee owns what was pushed for it, and may use it as a variable.
        using var code = Code("func f\n push %rdi\n call callee\nback:\n add $8, %rsp\n ret\nendf f");
        Assert.DoesNotContain(code.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.StackSlot);
        Assert.Contains(new ValueRecipe.EntryRegister(X86_64.Rdi, 0), code.PassedOnStack("back", 0, 8));
    }

    [Fact]
    public void A_pop_that_only_clears_the_stack_does_not_make_an_argument_a_variable()
    {
        using var code = Code("func f\n push %rdi\n call callee\nback:\n pop %rcx\n ret\nendf f");
        Assert.DoesNotContain(code.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.StackSlot);
    }

    [Fact]
    public void What_others_may_write_through_an_address_is_not_believed()
    {
        const string Frame = "func f\n sub $40, %rsp\n mov %rdi, 8(%rsp)\n {0}\n call callee\n call callee\nback:\n mov 8(%rsp), %rax\n add $40, %rsp\n ret\nendf f";
        using var quiet = Code(Frame.Replace("{0}", "nop"));
        using var passed = Code(Frame.Replace("{0}", "lea 8(%rsp), %rsi"));
        using var stored = Code(Frame.Replace("{0}", "lea 8(%rsp), %rax\n mov %rax, 16(%rdx)"));
        using var indexed = Code(Frame.Replace("{0}", "movq $1, 16(%rsp,%rdx,8)"));
        Assert.Contains(quiet.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.StackSlot);
        Assert.All([passed, stored, indexed], code => Assert.DoesNotContain(code.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.StackSlot));
    }

    [Fact]
    public void Where_ways_meet_a_value_is_kept_only_if_all_ways_keep_it()
    {
        using var code = Code("func f\n push %rbx\n push %rbp\n mov %rdi, %rbx\n mov %rsi, %rbp\n test %rdx, %rdx\n je 1f\n mov %rcx, %rbx\n1: call callee\nback:\n pop %rbp\n pop %rbx\n ret\nendf f");
        Assert.DoesNotContain(code.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.Register);
        Assert.Contains(new ValueRecipe.Register(X86_64.Rbp, 0), code.AtEntry("back", X86_64.Rsi));
    }

    [Fact]
    public void A_copy_from_an_earlier_turn_of_a_loop_is_another_value()
    {
        // rbp has the rax of the turn before; rbx the one that is passed.
        using var code = Code("""
            func f
             push %rbx
             push %rbp
             xor %ebp, %ebp
             xor %ebx, %ebx
            1: mov %rbx, %rbp
             call callee
             mov %rax, %rbx
             mov %rax, %rdi
             call callee
            back:
             test %eax, %eax
             jne 1b
             pop %rbp
             pop %rbx
             ret
            endf f
            """);
        var recipes = code.Passed("back", X86_64.Rdi);
        Assert.Contains(new ValueRecipe.Register(X86_64.Rbx, 0), recipes);
        Assert.DoesNotContain(new ValueRecipe.Register(X86_64.Rbp, 0), recipes);
    }

    [Fact]
    public void A_value_that_was_asked_for_before_a_loop_is_not_the_loops_newest()
    {
        // Before "start" rbx is the loop's variable of the turn in which "start" was passed; the inner loop goes on counting it.
        using var code = Code("""
            func f
             push %rbx
             push %r12
             mov %rdi, %rbx
            outer:
             call callee
             test %eax, %eax
             je done
            start:
             mov %rbx, %r12
            1: add $8, %rbx
             call callee
            back:
             test %eax, %eax
             jne 1b
             jmp outer
            done:
             pop %r12
             pop %rbx
             ret
            endf f
            """);
        var recipes = code.At("back", "start", X86_64.Rbx);
        Assert.Contains(new ValueRecipe.Register(X86_64.R12, 0), recipes);
        Assert.DoesNotContain(recipes, r => r is ValueRecipe.Register { Index: X86_64.Rbx });
    }

    [Fact]
    public void A_counter_that_goes_on_without_a_copy_is_lost()
    {
        using var code = Code("""
            func f
             push %rbx
             mov %rdi, %rbx
            outer:
             call callee
            start:
             nop
            1: add $8, %rbx
             call callee
            back:
             test %eax, %eax
             jne 1b
             jmp outer
            endf f
            """);
        Assert.Empty(code.At("back", "start", X86_64.Rbx));
    }

    [Fact]
    public void A_static_keys_jump_counts_although_the_file_has_a_nop_there()
    {
        const string Body = """
            func f
             push %rbx
             mov %rdi, %rbx
            site: .byte 0x0f, 0x1f, 0x44, 0x00, 0x00
            on: call callee
            back:
             pop %rbx
             ret
            off: mov %rsi, %rbx
             jmp on
            endf f
            """;
        const string Table = "\n.section __jump_table,\"a\"\n .long site - ., off - .\n .quad 0\n";
        using var without = Code(Body);
        using var with = Code(Body + Table);
        Assert.Contains(without.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.Register);
        Assert.DoesNotContain(with.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.Register);
    }

    [Fact]
    public void An_alternative_that_may_stand_there_counts_too()
    {
        const string Body = """
            func f
             push %rbx
             mov %rdi, %rbx
            site: .byte 0x0f, 0x1f, 0x00
            end: call callee
            back:
             pop %rbx
             ret
            endf f
            .section .altinstr_replacement,"ax"
            other: mov %rsi, {0}
            otherend:
            .section .altinstructions,"a"
             .long site - ., other - .
             .word 1
             .byte end - site, otherend - other
            """;
        using var harmless = Code(Body.Replace("{0}", "%rax"));
        using var harmful = Code(Body.Replace("{0}", "%rbx"));
        Assert.Contains(harmless.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.Register);
        Assert.DoesNotContain(harmful.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.Register);
    }

    [Fact]
    public void A_fault_goes_on_at_its_fixup()
    {
        const string Body = """
            func f
             push %rbx
             mov %rdi, %rbx
             xor %ecx, %ecx
            1: mov (%rsi), %rax
             mov %rsi, %rbx
             mov %rdi, %rbx
            2: call callee
            back:
             pop %rbx
             ret
            3: mov %rdx, %rbx
             jmp 2b
            endf f
            """;
        using var without = Code(Body);
        using var with = Code(Body + "\n.section __ex_table,\"a\"\n .long 1b - ., 3b - ., 1\n");
        Assert.Contains(without.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.Register);
        Assert.DoesNotContain(with.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.Register);
    }

    [Fact]
    public void Put_user_takes_rbx()
    {
        using var code = Code("func f\n push %rbx\n push %rbp\n mov %rdi, %rbx\n mov %rdi, %rbp\n call __put_user_8\n call callee\nback:\n pop %rbp\n pop %rbx\n ret\nendf f\nfunc __put_user_8\n ret\nendf __put_user_8");
        var recipes = code.AtEntry("back", X86_64.Rdi);
        Assert.Contains(new ValueRecipe.Register(X86_64.Rbp, 0), recipes);
        Assert.DoesNotContain(new ValueRecipe.Register(X86_64.Rbx, 0), recipes);
    }

    [Fact]
    public void A_function_that_may_jump_anywhere_is_not_understood()
    {
        using var code = Code("""
            func f
             push %rbx
             jmp *%rax
             mov %rdi, %rbx
             ret
            endf f
            func g
             lea (%rdi,%rdi), %rax
             jmp *%rax
            endf g
            func tail
             mov 8(%rdi), %rax
             jmp *%rax
            endf tail
            """);
        Assert.False(code.IsUnderstood("f"));
        Assert.False(code.IsUnderstood("g"));
        Assert.True(code.IsUnderstood("tail"));
    }

    [Fact]
    public void A_jump_table_leads_to_all_that_its_entries_name()
    {
        using var code = Code("""
            func f
             push %rbx
             mov %rdi, %rbx
             and $1, %esi
             jmp *table(,%rsi,8)
            a: mov %rdx, %rbx
            b: call callee
            back:
             pop %rbx
             ret
            endf f
            .section .rodata
            table: .quad b, a
            """);
        Assert.True(code.IsUnderstood("f"));
        Assert.DoesNotContain(code.AtEntry("back", X86_64.Rdi), r => r is ValueRecipe.Register);
    }

    [Fact]
    public void At_its_first_instruction_everything_is_where_it_was()
    {
        using var code = Code("func f\n push %rbx\nsecond:\n xor %edi, %edi\nthird:\n pop %rbx\n ret\nendf f");
        Assert.Contains(new ValueRecipe.Register(X86_64.Rdi, 0), code.StoppedAt("f", X86_64.Rdi));
        Assert.Contains(new ValueRecipe.Register(X86_64.Rdi, 0), code.StoppedAt("second", X86_64.Rdi));
        Assert.DoesNotContain(code.StoppedAt("third", X86_64.Rdi), r => r is ValueRecipe.Register);
    }

    [Fact]
    public void What_lies_below_the_stack_pointer_is_gone()
    {
        using var code = Code("func f\n push %rdi\n xor %edi, %edi\nhere:\n pop %rcx\nthere:\n xor %ecx, %ecx\ngone:\n ret\nendf f");
        Assert.Contains(new ValueRecipe.StackSlot(-16, 8, 0), code.StoppedAt("here", X86_64.Rdi));
        Assert.Contains(new ValueRecipe.Register(X86_64.Rcx, 0), code.StoppedAt("there", X86_64.Rdi));
        Assert.DoesNotContain(code.StoppedAt("gone", X86_64.Rdi), r => r is not ValueRecipe.EntryRegister);
    }

    [Fact]
    public void I386_arguments_on_the_stack_are_found_by_the_caller_who_pushed_them()
    {
        using var code = new AssembledCode("func f\n push %ebx\n mov %eax, %ebx\n push $7\n push %ebx\n call callee\nback:\n add $8, %esp\n pop %ebx\n ret\nendf f" + Callee, is64: false);
        Assert.Contains(new ValueRecipe.Register(I386.Ebx, 0) { Bits = 32 }, code.PassedOnStack("back", 0, 4));
        Assert.Contains(new ValueRecipe.Constant(7, false) { Bits = 32 }, code.PassedOnStack("back", 4, 4));
        Assert.Contains(new ValueRecipe.Register(I386.Ebx, 0) { Bits = 32 }, code.AtEntry("back", I386.Eax));
    }

    [Fact]
    public void A_position_thunk_of_i386_changes_its_register()
    {
        using var code = new AssembledCode(
            "func f\n push %ebx\n mov %eax, %ebx\n call __x86.get_pc_thunk.bx\n call callee\nback:\n pop %ebx\n ret\nendf f\nfunc __x86.get_pc_thunk.bx\n mov (%esp), %ebx\n ret\nendf __x86.get_pc_thunk.bx" + Callee, is64: false);
        Assert.DoesNotContain(code.AtEntry("back", I386.Eax), r => r is ValueRecipe.Register);
    }

    private static AssembledCode Code(string body)
    {
        // Functions first: what follows may be in other sections.
        return new AssembledCode(Callee + body);
    }
}
